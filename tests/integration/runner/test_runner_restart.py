"""The timeout of a `def` holds: what does not stop loses its job, and a runner without room for others starts anew."""

import os
import signal
from pathlib import Path

import pytest

from tests.integration.runner.conftest import RunnerStack
from tests.integration.runner.programs import gone, running_program
from tests.support.until import until

HANDLERS = """
import os, pathlib, sys, time
from innosystem.runner import handler

@handler("sleeps")
def sleeps(input):
    # What a handler changes in the process does not reach the program that is started anew.
    os.chdir("/")
    os.environ["RUNNER_CONCURRENCY"] = "nonsense"
    time.sleep(1e9)

@handler("process", process=True)
def process(input):
    pathlib.Path(input["entered"]).write_text(str(os.getpid()))
    if input["sleeps"]:
        time.sleep(1e9)

@handler("here")
def here(input):
    return os.getcwd()
"""


@pytest.mark.parametrize("slots", [1, 4])
async def test_a_runner_whose_slots_are_held_by_handlers_that_do_not_stop_starts_anew(
    world: RunnerStack, tmp_path: Path, slots: int
) -> None:
    # All of them are stuck within the drain.
    limits = {"RUNNER_STOP_SECONDS": "0.2", "RUNNER_CONCURRENCY": str(slots), "RUNNER_DRAIN_SECONDS": "25"}
    stuck = [await world.submit("sleeps", timeout_seconds=0.2) for _ in range(slots)]
    async with running_program(world, tmp_path, HANDLERS, **limits) as running:
        await until(lambda: all(job.done for job in stuck))
        await until(lambda: running.starts() >= 2)
        other = await world.submit("here")
        await until(lambda: other.done)
        running.process.terminate()
        assert await running.ended() == 0

    assert {job.error.type for job in stuck} == {"TIMEOUT"}
    assert other.output == str(tmp_path)
    # More than one if some were taken only after the first.
    restarts = [line for line in running.lines if line["event"] == "runner_restarts"]
    assert {line["level"] for line in restarts} == {"error"}
    stacks = [line["stack"] for line in running.lines if line["event"] == "handler_stuck"]
    assert all(stack.startswith(f'  File "{tmp_path}/handlers_of_a_test.py"') for stack in stacks), stacks


async def test_a_runner_that_starts_anew_leaves_no_process_of_a_handler_behind(
    world: RunnerStack, tmp_path: Path
) -> None:
    entered = tmp_path / "entered"
    limits = {"RUNNER_STOP_SECONDS": "0.2", "RUNNER_CONCURRENCY": "2", "RUNNER_DRAIN_SECONDS": "1"}
    async with running_program(world, tmp_path, HANDLERS, **limits) as running:
        await world.submit("process", {"entered": str(entered), "sleeps": True})
        await until(lambda: entered.exists() and entered.read_text() != "")
        pid = int(entered.read_text())
        await world.submit("sleeps", timeout_seconds=0.2)
        await until(lambda: running.starts() == 2)
        await until(lambda: gone(pid))


async def test_a_process_that_cannot_import_the_handlers_shows_the_line_of_their_author(
    world: RunnerStack, tmp_path: Path
) -> None:
    broken = "import sys\nif 'innosystem.runner.handler_process_program' in sys.modules: 1 / 0\n"
    async with running_program(world, tmp_path, broken + HANDLERS) as running:
        await world.submit("process", {"entered": str(tmp_path / "entered"), "sleeps": False})
        await until(lambda: running.logged("handlers_not_loaded"))

    line = next(line for line in running.lines if line["event"] == "handlers_not_loaded")
    assert f'{tmp_path}/handlers_of_a_test.py", line 2' in line["error"]
    assert line["error"].endswith("ZeroDivisionError: division by zero")


async def test_a_runner_that_was_asked_to_stop_does_not_start_anew(world: RunnerStack, tmp_path: Path) -> None:
    limits = {"RUNNER_STOP_SECONDS": "0.2", "RUNNER_CONCURRENCY": "2", "RUNNER_DRAIN_SECONDS": "20"}
    entered = tmp_path / "entered"
    async with running_program(world, tmp_path, HANDLERS, **limits) as running:
        await world.submit("process", {"entered": str(entered), "sleeps": True})
        await until(entered.exists)
        await world.submit("sleeps", timeout_seconds=0.2)
        # It drains because of the stuck handler, and still waits for the process.
        await until(lambda: running.logged("draining"))
        os.kill(running.process.pid, signal.SIGTERM)
        assert await running.ended() == 1

    assert running.starts() == 1
