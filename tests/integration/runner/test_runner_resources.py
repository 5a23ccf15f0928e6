"""Resources live as long as the processes that they are made in, whatever runs the handlers."""

import os
import signal
from pathlib import Path

import pytest

from tests.integration.runner.conftest import RunnerStack
from tests.integration.runner.programs import running_program
from tests.support.until import until

HANDLERS = """
import asyncio, os, pathlib
from collections.abc import AsyncIterator
from innosystem.runner import handler, resource

FOLDER = pathlib.Path(__file__).parent

class Pool:
    def __init__(self):
        self.loop = asyncio.get_running_loop()

@resource
async def pool() -> AsyncIterator[Pool]:
    (FOLDER / f"made-{os.getpid()}").touch()
    yield Pool()
    (FOLDER / f"closed-{os.getpid()}").touch()

@handler("coroutine")
async def coroutine(input, *, pool: Pool):
    return [os.getpid(), id(pool), pool.loop is asyncio.get_running_loop()]

@handler("thread")
def thread(input, pool: Pool):
    return [os.getpid(), id(pool), True]

@handler("process", process=True)
def process(input, pool: Pool):
    return [os.getpid(), id(pool), True]
"""


@pytest.mark.parametrize(
    ("handler_id", "isolated"),
    [("coroutine", False), ("thread", False), ("process", False), ("coroutine", True), ("thread", True)],
    ids=["coroutine", "thread", "process", "suspect-coroutine", "suspect-thread"],
)
async def test_a_resource_is_made_once_in_a_process_and_closed_at_its_end(
    world: RunnerStack, tmp_path: Path, handler_id: str, isolated: bool
) -> None:
    async with running_program(world, tmp_path, HANDLERS) as running:
        jobs = []
        for _ in range(3):
            jobs.append(await world.submit(handler_id, isolated=isolated))
            await world.all_done()
        os.kill(running.process.pid, signal.SIGTERM)
        assert await running.ended() == 0

    [(pid, _, in_loop)] = {tuple(job.output) for job in jobs}
    assert in_loop
    assert (pid == running.process.pid) is (handler_id != "process" and not isolated)
    assert (tmp_path / f"made-{pid}").exists()
    assert (tmp_path / f"closed-{pid}").exists()


@pytest.mark.parametrize("process", ["", ", process=True"], ids=["thread", "process"])
async def test_a_runner_whose_resource_cannot_be_made_does_not_start(
    world: RunnerStack, tmp_path: Path, process: str, capfd: pytest.CaptureFixture[str]
) -> None:
    handlers = f"""
from innosystem.runner import handler, resource

class Pool: ...

@resource
def pool() -> Pool:
    raise OSError("the database does not respond")

@handler("any"{process})
def any(input, pool: Pool): ...
"""
    async with running_program(world, tmp_path, handlers) as running:
        assert await running.ended() == 2

    told = capfd.readouterr().err
    assert "The resource 'pool'" in told
    assert 'handlers_of_a_test.py", line 8, in pool' in told
    assert told.splitlines()[-1] == "OSError: the database does not respond"


async def test_a_runner_whose_handler_takes_an_unknown_type_does_not_start(
    world: RunnerStack, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    handlers = """
from innosystem.runner import handler

class Pool: ...

@handler("any")
def any(input, pool: Pool): ...
"""
    async with running_program(world, tmp_path, handlers) as running:
        assert await running.ended() == 2

    assert "takes Pool, which no resource makes" in capfd.readouterr().err


async def test_a_process_whose_runner_is_killed_ends_without_waiting_for_its_handler(
    world: RunnerStack, tmp_path: Path
) -> None:
    async with running_program(world, tmp_path, HANDLERS) as running:
        job = await world.submit("process")
        await world.all_done()
        pid = job.output[0]
        running.process.kill()
        await running.ended()
        await until(lambda: not Path(f"/proc/{pid}").exists())
