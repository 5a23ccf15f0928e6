"""Processes of handlers: what they leave behind, what their end is called, and who gets one."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from innosystem.runner import processes
from innosystem.runner.cpus import available_cpus
from tests.integration.runner.conftest import World
from tests.integration.runner.fakes import until
from tests.integration.runner.programs import gone, running_program

HANDLERS = """
import ctypes, os, pathlib, signal, subprocess, sys, time
from innosystem.runner import handler

@handler("starts-a-program", process=True)
def starts_a_program(input):
    child = subprocess.Popen(["sleep", "600"])
    pathlib.Path(input["pids"]).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)

@handler("terminates-a-program", process=True)
def terminates_a_program(input):
    child = subprocess.Popen(["sleep", "600"])
    child.terminate()
    return child.wait(20)

@handler("leaves-a-program-and-dies", process=True)
def leaves_a_program_and_dies(input):
    child = subprocess.Popen(["sleep", "600"])
    pathlib.Path(input["pids"]).write_text(f"{os.getpid()} {child.pid}")
    os._exit(7)

@handler("holds-the-lock", process=True)
def holds_the_lock(input):
    pathlib.Path(input["pids"]).write_text(f"{os.getpid()} {os.getpid()}")
    ctypes.PyDLL(None).usleep(600_000_000)

@handler("signal", process=True)
def signals(input):
    os.kill(os.getpid(), input)
    time.sleep(600)

@handler("crash-in-loop")
async def crash_in_loop(input):
    pathlib.Path(input).touch()
    os.kill(os.getpid(), signal.SIGKILL)

@handler("where-async")
async def where_async(input):
    import asyncio
    await asyncio.sleep(0)
    return os.getpid()

@handler("where")
def where(input):
    return os.getpid()

@handler("where-in-process", process=True)
def where_in_process(input):
    return os.getpid()

@handler("wait", process=True)
def wait(input):
    pathlib.Path(input["begun"]).touch()
    while not pathlib.Path(input["go_on"]).exists():
        time.sleep(0.01)
    return os.getppid()
"""


async def pids_in(path: Path) -> tuple[int, int]:
    await until(lambda: path.exists() and len(path.read_text().split()) == 2)
    worker, child = path.read_text().split()  # noqa: ASYNC240 - a small file
    return int(worker), int(child)


@pytest.mark.parametrize("how", ["timeout", "cancelled", "runner killed", "process died"])
async def test_what_a_handler_has_started_ends_with_it(world: World, tmp_path: Path, how: str) -> None:
    pids = tmp_path / "pids"
    handler = "leaves-a-program-and-dies" if how == "process died" else "starts-a-program"
    async with running_program(world, tmp_path, HANDLERS, RUNNER_LEASE_SECONDS="1") as running:
        job = await world.submit(handler, {"pids": str(pids)}, timeout_seconds=1 if how == "timeout" else 600)
        worker, child = await pids_in(pids)
        if how == "cancelled":
            job.cancel()
        elif how == "runner killed":
            running.process.kill()
        await until(lambda: gone(worker) and gone(child))


async def test_a_process_that_holds_the_interpreters_lock_ends_with_a_killed_runner(
    world: World, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    async with running_program(world, tmp_path, HANDLERS) as running:
        await world.submit("holds-the-lock", {"pids": str(pids)}, timeout_seconds=600)
        worker, _ = await pids_in(pids)
        running.process.kill()
        await until(lambda: gone(worker))


async def test_the_guard_of_the_processes_is_replaced_when_it_is_killed(world: World, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    async with running_program(world, tmp_path, HANDLERS, RUNNER_PROCESSES="2") as running:
        await world.submit("holds-the-lock", {"pids": str(first)}, timeout_seconds=600)
        workers = [(await pids_in(first))[0]]
        [guard] = [pid for pid in children_of(running.process.pid) if b"guard_program" in command_of(pid)]
        os.kill(guard, signal.SIGKILL)
        await until(lambda: gone(guard))
        await world.submit("holds-the-lock", {"pids": str(second)}, timeout_seconds=600)
        workers.append((await pids_in(second))[0])
        running.process.kill()
        await until(lambda: all(gone(worker) for worker in workers))


def children_of(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


async def test_a_program_that_a_handler_has_started_can_be_terminated(world: World, tmp_path: Path) -> None:
    async with running_program(world, tmp_path, HANDLERS):
        job = await world.submit("terminates-a-program")
        await until(lambda: job.done)

    assert job.output == -signal.SIGTERM


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGKILL, "SIGKILL: perhaps it took too much memory"),
        (signal.SIGSEGV, "SIGSEGV: a native library crashed"),
    ],
)
async def test_the_signal_that_ended_a_process_is_named(
    world: World, tmp_path: Path, number: signal.Signals, said: str
) -> None:
    async with running_program(world, tmp_path, HANDLERS):
        job = await world.submit("signal", int(number))
        await until(lambda: job.done)

    assert (job.error.type, job.error.retryable) == ("PROCESS_DIED", True)
    assert f"was ended by {said}" in job.error.message


async def test_jobs_that_a_runner_has_no_process_for_go_to_one_that_has(world: World, tmp_path: Path) -> None:
    world.jobs.push_again = world.push_again
    (tmp_path / "other").mkdir()
    jobs = []
    async with running_program(world, tmp_path, HANDLERS, RUNNER_PROCESSES="1") as full:
        for number in range(8):
            files = {"begun": str(tmp_path / f"begun{number}"), "go_on": str(tmp_path / "go_on")}
            jobs.append(await world.submit("wait", files, timeout_seconds=600))
        await until(lambda: sum((tmp_path / f"begun{number}").exists() for number in range(8)) == 1)
        async with running_program(world, tmp_path / "other", HANDLERS, RUNNER_PROCESSES="1") as idle:
            # The runner that is full keeps all of its jobs to itself if it does not hand them back.
            await until(lambda: sum((tmp_path / f"begun{number}").exists() for number in range(8)) == 2)
            (tmp_path / "go_on").touch()
            await until(lambda: all(job.done for job in jobs))
            assert {job.output for job in jobs} == {full.process.pid, idle.process.pid}
    assert [job.job.attempt for job in jobs] == [1] * 8


async def test_jobs_that_wait_for_processes_do_not_keep_out_a_job_of_high_priority(
    world: World, tmp_path: Path
) -> None:
    world.jobs.push_again = world.push_again
    begun = tmp_path / "begun"
    async with running_program(world, tmp_path, HANDLERS, RUNNER_PROCESSES="1", RUNNER_CONCURRENCY="4") as running:
        files = {"begun": str(begun), "go_on": str(tmp_path / "never")}
        for _ in range(12):
            await world.submit("wait", files, timeout_seconds=600)
        await until(begun.exists)
        urgent = await world.submit("where-async", priority=0)
        await until(lambda: urgent.done)
        assert urgent.output == running.process.pid


async def test_a_full_runner_claims_little_more_than_it_can_begin_with(world: World, tmp_path: Path) -> None:
    world.jobs.push_again = world.push_again
    begun = tmp_path / "begun"
    async with running_program(world, tmp_path, HANDLERS, RUNNER_PROCESSES="1"):
        files = {"begun": str(begun), "go_on": str(tmp_path / "never")}
        for _ in range(12):
            await world.submit("wait", files, timeout_seconds=600)
        await until(lambda: sum(world.jobs.returned.values()) >= 11)
        returned, claims = sum(world.jobs.returned.values()), world.jobs.batches["claim"]
        # Each of its further claims is for one job, which waits for a process for a second.
        await until(lambda: world.jobs.batches["claim"] >= claims + 4)
        assert sum(world.jobs.returned.values()) - returned <= 5


async def test_a_job_whose_process_does_not_start_is_handed_back_and_uses_up_no_attempt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_BOOT", "raise SystemExit(5)")
    world.registry.add("in-process", len, process=True)
    job = await world.submit("in-process")
    async with world.running():
        await until(lambda: world.jobs.returned[job.job.id] == 1)

    assert job.completion is None
    assert job.returned_because == "no process could be started"
    assert job.job.attempt == 0


@pytest.mark.parametrize("handler", ["where-async", "where", "where-in-process"])
async def test_a_job_whose_runner_was_lost_before_runs_in_a_process_that_runs_nothing_else(
    world: World, tmp_path: Path, handler: str
) -> None:
    async with running_program(world, tmp_path, HANDLERS, RUNNER_PROCESSES="1") as running:
        jobs = []
        for _ in range(2):
            jobs.append(await world.submit(handler, rescue_count=2))
            await world.all_done()

    places = [job.output for job in jobs]
    assert running.process.pid not in places
    assert len(set(places)) == 2


async def test_a_job_that_kills_its_runner_kills_nothing_else_the_next_time(world: World, tmp_path: Path) -> None:
    begun, go_on = tmp_path / "begun", tmp_path / "go_on"
    async with running_program(world, tmp_path, HANDLERS, RUNNER_PROCESSES="1") as running:
        beside = await world.submit("wait", {"begun": str(begun), "go_on": str(go_on)}, timeout_seconds=600)
        await until(begun.exists)
        killer = await world.submit("crash-in-loop", str(tmp_path / "crashed"), rescue_count=2)
        await until(lambda: killer.done)
        go_on.touch()
        await until(lambda: beside.done)
        assert running.process.returncode is None

    assert (killer.error.type, killer.error.retryable) == ("PROCESS_DIED", True)


async def test_a_suspect_does_not_wait_for_the_processes_of_others(world: World, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    async with running_program(world, tmp_path, HANDLERS, RUNNER_PROCESSES="1"):
        files = {"begun": str(begun), "go_on": str(tmp_path / "never")}
        await world.submit("wait", files, timeout_seconds=600)
        await until(begun.exists)
        suspect = await world.submit("where", rescue_count=2)
        await until(lambda: suspect.done)
        assert suspect.output


async def test_suspects_that_are_more_than_there_are_processes_for_wait_for_nobody(
    world: World, tmp_path: Path
) -> None:
    begun, go_on = tmp_path / "begun", tmp_path / "go_on"
    async with running_program(world, tmp_path, HANDLERS, RUNNER_PROCESSES="1") as running:
        files = {"begun": str(begun), "go_on": str(go_on)}
        alone = await world.submit("wait", files, timeout_seconds=600, rescue_count=2)
        await until(begun.exists)
        others = [await world.submit("where-async", rescue_count=2) for _ in range(5)]
        await until(lambda: all(one.done for one in others))
        assert {one.output for one in others} == {running.process.pid}
        assert not any(one.returned_because for one in others)
        go_on.touch()
        await until(lambda: alone.done)


async def test_a_suspect_whose_handler_no_other_process_can_import_runs_as_before(world: World) -> None:
    async def where(input: object) -> int:
        await asyncio.sleep(0)
        return os.getpid()

    world.registry.add("where", where)
    # A module was loaded, and the handler is not in it.
    world.registry.load(["json"])
    job = await world.submit("where", rescue_count=2)
    async with world.running():
        await until(lambda: job.done)

    assert job.output == os.getpid()


async def test_a_job_may_be_run_again_whose_handler_a_process_does_not_have(world: World) -> None:
    """Its module was replaced while the runner ran: a runner that was started since has what is right."""
    world.registry.add("gone", len, process=True)
    world.registry.load(["json"])
    job = await world.submit("gone")
    async with world.running():
        await until(lambda: job.done)

    assert (job.error.type, job.error.retryable) == ("UNKNOWN_HANDLER", True)


def test_there_are_as_many_processes_as_the_container_may_use(tmp_path: Path) -> None:
    assert available_cpus(tmp_path) == len(os.sched_getaffinity(0))
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert available_cpus(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert available_cpus(tmp_path) == len(os.sched_getaffinity(0))
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("100000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert available_cpus(tmp_path) == 1
