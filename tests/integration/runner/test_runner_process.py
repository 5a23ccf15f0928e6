"""The real program: it starts, logs that, drains on a signal, and reports errors in its settings."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.integration.runner.conftest import RunnerStack
from tests.integration.runner.programs import Program, gone, running_program
from tests.support.until import until

HANDLERS = """
import logging, os, sys, time
import pathlib
from innosystem.runner import handler

@handler("wait")
async def wait(input):
    import asyncio
    pathlib.Path(input["entered"]).touch()
    while not pathlib.Path(input["go_on"]).exists():
        await asyncio.sleep(0.01)
    return "waited"

@handler("log")
def log(input):
    logging.getLogger("mine").warning("in a thread")
    return "logged"

@handler("log-in-process", process=True)
def log_in_process(input):
    logging.getLogger("mine").warning("in a process")
    print("printed by a handler")
    return os.getppid()

@handler("hang", process=True)
def hang(input):
    pathlib.Path(input["entered"]).write_text(str(os.getpid()))
    time.sleep(3600)

@handler("hang-in-thread")
def hang_in_thread(input):
    pathlib.Path(input["entered"]).touch()
    time.sleep(3600)

@handler("die", process=True)
def die(input):
    os._exit(7)

@handler("exit", process=True)
def exit(input):
    sys.exit(1)

@handler("blocks-the-loop")
async def blocks_the_loop(input):
    pathlib.Path(input["entered"]).touch()
    time.sleep(input["seconds"])
    return "done"

@handler("holds-the-lock")
def holds_the_lock(input):
    import ctypes
    pathlib.Path(input["entered"]).touch()
    # Called this way, nothing else runs in the interpreter meanwhile.
    ctypes.PyDLL(None).usleep(int(input["seconds"] * 1e6))
    return "done"

@handler("will-not-be-cancelled")
async def will_not_be_cancelled(input):
    import asyncio
    pathlib.Path(input["entered"]).touch()
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
"""


@asynccontextmanager
async def program(world: RunnerStack, folder: Path, *more_modules: str, **environment: str) -> AsyncIterator[Program]:
    async with running_program(world, folder, HANDLERS, *more_modules, **environment) as running:
        yield running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_the_program_ends_with_0(
    world: RunnerStack, tmp_path: Path, number: signal.Signals
) -> None:
    entered, go_on = tmp_path / "entered", tmp_path / "go_on"
    async with program(world, tmp_path) as running:
        job = await world.submit("wait", {"entered": str(entered), "go_on": str(go_on)})
        await until(entered.exists)
        running.process.send_signal(number)
        await until(lambda: running.logged("draining"))
        assert not job.done
        go_on.touch()

        assert await running.ended() == 0
    assert job.output == "waited"
    assert job.settlement is not None
    assert running.lines[-1]["event"] == "drained"


async def test_a_handler_stuck_in_a_thread_does_not_keep_the_program(world: RunnerStack, tmp_path: Path) -> None:
    entered = tmp_path / "entered"
    async with program(world, tmp_path, RUNNER_DRAIN_SECONDS="0.2") as running:
        job = await world.submit("hang-in-thread", {"entered": str(entered)})
        await until(entered.exists)
        running.process.terminate()

        assert await running.ended() == 0
    assert job.returned_because == "runner stopping"
    assert running.logged("handlers_abandoned")


async def test_a_second_signal_returns_the_jobs_immediately(world: RunnerStack, tmp_path: Path) -> None:
    entered = tmp_path / "entered"
    async with program(world, tmp_path, RUNNER_DRAIN_SECONDS="3600") as running:
        job = await world.submit("wait", {"entered": str(entered), "go_on": str(tmp_path / "never")})
        await until(entered.exists)
        running.process.terminate()
        await until(lambda: running.logged("draining"))
        running.process.terminate()

        assert await running.ended() == 0
    assert job.returned_because == "runner stopping"
    assert (job.lease_id, job.job.attempt) == ("", 0)


async def test_log_lines_of_handlers_carry_the_job_and_its_request_id(world: RunnerStack, tmp_path: Path) -> None:
    async with program(world, tmp_path) as running:
        in_thread = await world.submit("log", request_id="request-one")
        in_process = await world.submit("log-in-process", request_id="request-two")
        await world.all_done()
        running.process.terminate()
        assert await running.ended() == 0

    said = {line["event"]: line for line in running.lines}
    assert said["in a thread"]["request_id"] == "request-one"
    assert said["in a thread"]["job_id"] == in_thread.job.id
    assert said["in a process"]["request_id"] == "request-two"
    assert said["in a process"]["job_id"] == in_process.job.id
    assert in_process.output == running.process.pid
    assert "printed by a handler\n" in running.text
    finished = [line for line in running.lines if line["event"] == "job_succeeded"]
    assert {line["request_id"] for line in finished} == {"request-one", "request-two"}


async def test_a_handler_in_a_process_is_killed_at_its_timeout_and_others_go_on(
    world: RunnerStack, tmp_path: Path
) -> None:
    entered = tmp_path / "entered"
    async with program(world, tmp_path) as running:
        world.jobs.push_again = world.push_again
        hung = await world.submit("hang", {"entered": str(entered)}, timeout_seconds=0.5)
        died = await world.submit("die")
        left = await world.submit("exit")
        good = await world.submit("log-in-process")
        await world.all_done()
        pid = int(entered.read_text())
        await until(lambda: gone(pid))
        running.process.terminate()
        assert await running.ended() == 0

    assert hung.error.type == "TIMEOUT"
    assert (died.error.type, died.error.retryable) == ("PROCESS_DIED", True)
    assert "status 7" in died.error.message
    assert left.error.type == "SystemExit"
    assert good.output == running.process.pid


async def test_processes_do_not_outlive_a_runner_that_is_killed(world: RunnerStack, tmp_path: Path) -> None:
    entered = tmp_path / "entered"
    async with program(world, tmp_path) as running:
        await world.submit("hang", {"entered": str(entered)})
        await until(lambda: entered.exists() and entered.read_text() != "")
        running.process.kill()
        await running.ended()
        await until(lambda: gone(int(entered.read_text())))


async def test_it_waits_for_a_redis_and_services_that_are_not_there(world: RunnerStack, tmp_path: Path) -> None:
    async with program(world, tmp_path, REDIS_URL="redis://127.0.0.1:1") as running:
        await until(lambda: running.logged("redis_unavailable"))
        running.process.terminate()

        assert await running.ended() == 0


async def test_handlers_that_can_not_be_loaded_are_named(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "innosystem.runner", "--handlers", "no_such_module_at_all"),
        cwd=tmp_path,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()

    assert process.returncode == 2
    assert said.decode().startswith("There is no module 'no_such_module_at_all' in ")
    assert len(said.decode().splitlines()) == 1


async def test_a_runner_without_handlers_reports_it_and_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "nothing_in_it.py").touch()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "innosystem.runner", "--handlers", "nothing_in_it"),
        cwd=tmp_path,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()

    assert process.returncode == 2
    assert "No handler is registered" in said.decode()
    assert "nothing_in_it" in said.decode()
