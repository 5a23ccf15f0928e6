"""The guard of the handlers' processes, without a runner."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from innosystem.runner.process_guard import ProcessGuard
from tests.integration.runner.programs import gone
from tests.support.until import until

# More than the capacity of a pipe.
MANY = 20_000


@pytest.fixture
def group() -> Iterator[int]:
    """A process that leads its group."""
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(command, start_new_session=True) as process:
        yield process.pid
        process.kill()


@pytest.mark.timeout(60)
async def test_a_guard_that_does_not_read_blocks_no_caller_and_is_replaced(
    group: int, capfd: pytest.CaptureFixture[str]
) -> None:
    guard = ProcessGuard()
    await guard.watch(group)
    assert guard._process is not None
    stopped = guard._process.pid
    os.kill(stopped, signal.SIGSTOP)
    for _ in range(MANY):
        guard.forget(2**22)
    await guard.watch(group)
    assert gone(stopped)
    # The new guard watches the group, and kills it when the runner is gone.
    assert guard._pipe is not None
    os.close(guard._pipe)
    guard._pipe = None
    await until(lambda: gone(group))
    await guard.close()


@pytest.mark.timeout(60)
async def test_a_guard_that_does_not_read_is_ended_with_its_runner(group: int) -> None:
    guard = ProcessGuard()
    await guard.watch(group)
    assert guard._process is not None
    stopped = guard._process.pid
    os.kill(stopped, signal.SIGSTOP)
    await asyncio.wait_for(guard.close(), 20)
    assert gone(stopped)
