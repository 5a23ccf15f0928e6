"""Processes of handlers: their leftovers, the reports of their ends, and which jobs get one."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from innosystem.runner import handler_process
from innosystem.runner.cpus import available_cpus
from tests.integration.runner.conftest import RunnerStack
from tests.integration.runner.programs import gone, running_program
from tests.support.until import until

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

@handler("leaves-a-program", process=True)
def leaves_a_program(input):
    child = subprocess.Popen(["sleep", "600"])
    pathlib.Path(input["pids"]).write_text(f"{os.getpid()} {child.pid}")

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

@handler("counts-and-crashes")
def counts_and_crashes(input):
    with open(input, "a") as runs:
        runs.write("1")
    os.kill(os.getpid(), signal.SIGKILL)

TRAPS = []

@handler("lays-a-trap")
def lays_a_trap(input):
    TRAPS.append(input)
    return os.getpid()

@handler("lays-a-trap-in-process", process=True)
def lays_a_trap_in_process(input):
    return lays_a_trap(input)

@handler("where-async")
async def where_async(input):
    import asyncio
    await asyncio.sleep(0)
    return os.getpid()

@handler("where")
def where(input):
    if TRAPS:
        os._exit(9)
    return os.getpid()

@handler("where-in-process", process=True)
def where_in_process(input):
    return where(input)

@handler("wait", process=True)
def wait(input):
    return waits(input)

@handler("waits")
def waits(input):
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
async def test_what_a_handler_has_started_ends_with_it(world: RunnerStack, tmp_path: Path, how: str) -> None:
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


async def test_leftovers_of_a_handler_end_with_its_process_even_if_that_is_idle(
    world: RunnerStack, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    async with running_program(world, tmp_path, HANDLERS):
        job = await world.submit("leaves-a-program", {"pids": str(pids)})
        await until(lambda: job.done)
        worker, child = await pids_in(pids)
        assert not gone(child)
        os.kill(worker, signal.SIGKILL)
        await until(lambda: gone(child))


async def test_a_process_that_holds_the_interpreters_lock_ends_with_a_killed_runner(
    world: RunnerStack, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    async with running_program(world, tmp_path, HANDLERS) as running:
        await world.submit("holds-the-lock", {"pids": str(pids)}, timeout_seconds=600)
        worker, _ = await pids_in(pids)
        running.process.kill()
        await until(lambda: gone(worker))


async def test_the_guard_of_the_processes_is_replaced_when_it_is_killed(world: RunnerStack, tmp_path: Path) -> None:
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


async def test_a_program_that_a_handler_has_started_can_be_terminated(world: RunnerStack, tmp_path: Path) -> None:
    async with running_program(world, tmp_path, HANDLERS):
        job = await world.submit("terminates-a-program")
        await until(lambda: job.done)

    assert job.output == -signal.SIGTERM


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGKILL, "SIGKILL: possibly out of memory"),
        (signal.SIGSEGV, "SIGSEGV: a native library crashed"),
    ],
)
async def test_the_signal_that_ended_a_process_is_named(
    world: RunnerStack, tmp_path: Path, number: signal.Signals, said: str
) -> None:
    async with running_program(world, tmp_path, HANDLERS):
        job = await world.submit("signal", int(number))
        await until(lambda: job.done)

    assert (job.error.type, job.error.retryable) == ("PROCESS_DIED", True)
    assert f"was ended by {said}" in job.error.message


async def test_jobs_that_a_runner_has_no_process_for_go_to_one_that_has(world: RunnerStack, tmp_path: Path) -> None:
    world.jobs.push_again = world.push_again
    (tmp_path / "other").mkdir()
    jobs = []
    async with running_program(world, tmp_path, HANDLERS, RUNNER_PROCESSES="1") as full:
        for number in range(8):
            files = {"begun": str(tmp_path / f"begun{number}"), "go_on": str(tmp_path / "go_on")}
            jobs.append(await world.submit("wait", files, timeout_seconds=600))
        await until(lambda: sum((tmp_path / f"begun{number}").exists() for number in range(8)) == 1)
        async with running_program(world, tmp_path / "other", HANDLERS, RUNNER_PROCESSES="1") as idle:
            # A full runner that did not return jobs would keep all of them.
            await until(lambda: sum((tmp_path / f"begun{number}").exists() for number in range(8)) == 2)
            (tmp_path / "go_on").touch()
            await until(lambda: all(job.done for job in jobs))
            assert {job.output for job in jobs} == {full.process.pid, idle.process.pid}
    assert [job.job.attempt for job in jobs] == [1] * 8


async def test_jobs_that_wait_for_processes_do_not_keep_out_a_job_of_high_priority(
    world: RunnerStack, tmp_path: Path
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


async def test_a_full_runner_claims_little_more_than_it_can_begin_with(world: RunnerStack, tmp_path: Path) -> None:
    world.jobs.push_again = world.push_again
    begun = tmp_path / "begun"
    async with running_program(world, tmp_path, HANDLERS, RUNNER_PROCESSES="1"):
        files = {"begun": str(begun), "go_on": str(tmp_path / "never")}
        for _ in range(12):
            await world.submit("wait", files, timeout_seconds=600)
        await until(lambda: sum(world.jobs.returned.values()) >= 11)
        returned, claims = sum(world.jobs.returned.values()), world.jobs.batches["claim"]
        # Each further claim is for one job, which waits a second for a process.
        await until(lambda: world.jobs.batches["claim"] >= claims + 4)
        assert sum(world.jobs.returned.values()) - returned <= 5


async def test_a_job_whose_process_does_not_start_is_returned_and_uses_up_no_attempt(
    world: RunnerStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler_process, "_BOOT", "raise SystemExit(5)")
    world.registry.add("in-process", len, process=True)
    job = await world.submit("in-process")
    async with world.running():
        await until(lambda: world.jobs.returned[job.job.id] == 1)

    assert job.completion is None
    assert job.returned_because == "no process could be started"
    assert job.job.attempt == 0


@pytest.mark.parametrize("handler", ["where-async", "where"])
async def test_a_job_that_may_have_killed_its_runners_runs_in_a_process_that_others_use_after_it(
    world: RunnerStack, tmp_path: Path, handler: str
) -> None:
    async with running_program(world, tmp_path, HANDLERS, RUNNER_PROCESSES="1") as running:
        jobs = []
        for suspect in ({"rescue_count": 2}, {"isolated": True}):
            jobs.append(await world.submit(handler, **suspect))
            await world.all_done()
        known = await world.submit(handler, rescue_count=2, isolated=False)
        await world.all_done()

    [place] = {job.output for job in jobs}
    assert place != running.process.pid
    # The service considers more than the number of lost runners.
    assert known.output == running.process.pid


@pytest.mark.parametrize(
    ("first", "second"), [("lays-a-trap", "where"), ("lays-a-trap-in-process", "where-in-process")]
)
async def test_a_job_does_not_pay_for_what_the_one_before_has_left_in_its_process(
    world: RunnerStack, tmp_path: Path, first: str, second: str
) -> None:
    async with running_program(world, tmp_path, HANDLERS, RUNNER_PROCESSES="1") as running:
        damages = await world.submit(first, isolated=True)
        await world.all_done()
        innocent = await world.submit(second, isolated=True)
        await world.all_done()

    assert running.logged("used_process_died")
    assert innocent.output not in (damages.output, running.process.pid)


async def test_a_job_that_kills_its_process_is_named_though_others_have_used_that(
    world: RunnerStack, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    async with running_program(world, tmp_path, HANDLERS, RUNNER_PROCESSES="1"):
        await world.submit("where", isolated=True)
        await world.all_done()
        killer = await world.submit("counts-and-crashes", str(runs), isolated=True)
        await until(lambda: killer.done)

    assert (killer.error.type, killer.error.retryable) == ("PROCESS_DIED", True)
    # Once in the process that may be damaged, and once in a new one.
    assert runs.read_text() == "11"


async def test_a_job_that_kills_its_runner_kills_nothing_else_the_next_time(world: RunnerStack, tmp_path: Path) -> None:
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


async def test_a_suspect_does_not_wait_for_the_processes_of_others(world: RunnerStack, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    async with running_program(world, tmp_path, HANDLERS, RUNNER_PROCESSES="1"):
        files = {"begun": str(begun), "go_on": str(tmp_path / "never")}
        await world.submit("wait", files, timeout_seconds=600)
        await until(begun.exists)
        suspect = await world.submit("where", rescue_count=2)
        await until(lambda: suspect.done)
        assert suspect.output


async def test_suspects_that_wait_never_run_beside_others_and_delay_no_job(world: RunnerStack, tmp_path: Path) -> None:
    begun, go_on = tmp_path / "begun", tmp_path / "go_on"
    limits = {"RUNNER_PROCESSES": "1", "RUNNER_CONCURRENCY": "3"}
    async with running_program(world, tmp_path, HANDLERS, **limits) as running:
        alone = await world.submit("waits", {"begun": str(begun), "go_on": str(go_on)}, isolated=True)
        await until(begun.exists)
        suspects = [await world.submit("where-async", isolated=True) for _ in range(8)]
        innocents = [await world.submit("where-async") for _ in range(8)]
        await until(lambda: all(one.done for one in innocents))
        assert {one.output for one in innocents} == {running.process.pid}
        # As many wait as the runner has slots; the others return when there may be room.
        await until(lambda: sum(bool(one.returned_because) for one in suspects) == 5)
        handed_back = [one for one in suspects if one.returned_because]
        assert all(5 <= one.return_wait.seconds <= 15 for one in handed_back)
        waiting = [one for one in suspects if not one.returned_because]
        assert not any(one.done for one in waiting)
        go_on.touch()
        await until(lambda: all(one.done for one in (alone, *waiting)))

    assert running.process.pid not in {one.output for one in waiting}


async def test_a_suspect_whose_handler_no_other_process_can_import_runs_as_before(world: RunnerStack) -> None:
    async def where(input: object) -> int:
        await asyncio.sleep(0)
        return os.getpid()

    world.registry.add("where", where)
    # The loaded module does not contain the handler.
    world.registry.load(["json"])
    job = await world.submit("where", rescue_count=2)
    async with world.running():
        await until(lambda: job.done)

    assert job.output == os.getpid()


async def test_a_job_may_be_run_again_whose_handler_a_process_does_not_have(world: RunnerStack) -> None:
    """The module was replaced while the runner ran: a runner that started later has the right handler."""
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
