"""A handler that blocks the event loop is logged, and cannot keep the runner and its jobs for ever."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from tests.integration.runner.conftest import RunnerStack
from tests.integration.runner.programs import running_program
from tests.support.until import until

HANDLERS = """
import ctypes, pathlib, time
from innosystem.runner import handler

def blocks_in_here(seconds):
    time.sleep(seconds)

@handler("blocks")
async def blocks(input):
    pathlib.Path(input["entered"]).touch()
    blocks_in_here(input["seconds"])
    return "done"

@handler("blocks-in-c")
async def blocks_in_c(input):
    pathlib.Path(input["entered"]).touch()
    # Python cannot handle signals meanwhile.
    lock = ctypes.create_string_buffer(64)
    ctypes.CDLL(None).pthread_mutex_lock(lock)
    ctypes.CDLL(None).pthread_mutex_lock(lock)

@handler("holds-the-lock")
def holds_the_lock(input):
    pathlib.Path(input["entered"]).touch()
    ctypes.PyDLL(None).usleep(600_000_000)
"""


@pytest.mark.slow
async def test_who_blocks_the_loop_is_logged_with_the_stack_and_redis_is_not_blamed(
    world: RunnerStack, tmp_path: Path
) -> None:
    entered = tmp_path / "entered"
    async with running_program(world, tmp_path, HANDLERS) as running:
        job = await world.submit("blocks", {"entered": str(entered), "seconds": 8})
        await until(lambda: job.done)
        other = await world.submit("blocks", {"entered": str(entered), "seconds": 0})
        await until(lambda: other.done)
        running.process.terminate()
        assert await running.ended() == 0

    [line] = [line for line in running.lines if line["event"] == "loop_blocked"]
    assert line["task"] == f"handler blocks of job {job.job.id}"
    assert "in blocks_in_here" in line["stack"]
    assert not running.logged("redis_unavailable")


async def test_a_loop_that_is_blocked_for_too_long_makes_the_runner_start_anew_without_its_leases(
    world: RunnerStack, tmp_path: Path
) -> None:
    entered = tmp_path / "entered"
    async with running_program(world, tmp_path, HANDLERS, RUNNER_BLOCKED_SECONDS="1.5") as running:
        job = await world.submit("blocks", {"entered": str(entered), "seconds": 600}, timeout_seconds=1)
        await until(lambda: running.starts() == 2)
        other = await world.submit("blocks", {"entered": str(entered), "seconds": 0})
        await until(lambda: other.done)
        assert not job.done
        running.process.terminate()
        assert await running.ended() == 0

    [line] = [line for line in running.lines if line["event"] == "loop_blocked_for_too_long"]
    assert line["level"] == "critical"
    assert line["task"] == f"handler blocks of job {job.job.id}"


@pytest.mark.parametrize("handler", ["blocks", "blocks-in-c"])
async def test_a_blocked_loop_does_not_keep_a_stopping_runner_beyond_its_drain(
    world: RunnerStack, tmp_path: Path, handler: str
) -> None:
    entered = tmp_path / "entered"
    async with running_program(world, tmp_path, HANDLERS, RUNNER_DRAIN_SECONDS="2") as running:
        await world.submit(handler, {"entered": str(entered), "seconds": 600})
        await until(entered.exists)
        running.process.terminate()
        began = time.monotonic()
        assert await running.ended() == 3
        assert time.monotonic() - began >= 2


async def test_a_runner_that_was_frozen_for_longer_than_its_loop_may_be_blocked_continues(
    world: RunnerStack, tmp_path: Path
) -> None:
    entered = tmp_path / "entered"
    async with running_program(world, tmp_path, HANDLERS, RUNNER_BLOCKED_SECONDS="1.5") as running:
        os.kill(running.process.pid, signal.SIGSTOP)
        # The frozen time is the subject of this test.
        await asyncio.sleep(3)
        os.kill(running.process.pid, signal.SIGCONT)
        job = await world.submit("blocks", {"entered": str(entered), "seconds": 0})
        await until(lambda: job.done)
        assert running.process.returncode is None


async def test_a_handler_that_holds_the_interpreters_lock_for_too_long_ends_the_runner(
    world: RunnerStack, tmp_path: Path
) -> None:
    entered = tmp_path / "entered"
    async with running_program(
        world, tmp_path, HANDLERS, RUNNER_BLOCKED_SECONDS="2", RUNNER_LEASE_SECONDS="2"
    ) as running:
        await world.submit("holds-the-lock", {"entered": str(entered)})
        await until(entered.exists)
        assert await running.ended() == 1
