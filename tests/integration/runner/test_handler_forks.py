"""Processes that handlers fork, spawn or start end by signals of their own, and the runner continues."""

from pathlib import Path

import pytest

from tests.integration.runner.conftest import RunnerStack
from tests.integration.runner.programs import running_program
from tests.support.until import until

HANDLERS = """
import multiprocessing, os, signal, subprocess, sys, time
from innosystem.runner import handler

def sleep():
    time.sleep(600)

def terminate(how):
    if how == "subprocess":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        child.terminate()
        return child.wait(30)
    if how == "os.fork":
        pid = os.fork()
        if not pid:
            time.sleep(600)
        os.kill(pid, signal.SIGTERM)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    child = multiprocessing.get_context(how).Process(target=sleep)
    child.start()
    child.terminate()
    child.join(30)
    return child.exitcode

def returns_from_a_fork():
    pid = os.fork()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if pid else "the child"

async def in_loop(how):
    return returns_from_a_fork() if how == "returns" else terminate(how)

def in_thread(how):
    return returns_from_a_fork() if how == "returns" else terminate(how)

handler("coroutine")(in_loop)
handler("thread")(in_thread)
handler("process", process=True)(lambda how: in_thread(how))
"""


@pytest.mark.parametrize("mode", ["coroutine", "thread", "process"])
@pytest.mark.parametrize("how", ["fork", "spawn", "subprocess", "os.fork"])
async def test_a_signal_to_what_a_handler_has_forked_ends_that_and_not_the_runner(
    world: RunnerStack, tmp_path: Path, mode: str, how: str
) -> None:
    async with running_program(world, tmp_path, HANDLERS) as running:
        job = await world.submit(mode, how, timeout_seconds=60)
        await until(lambda: job.done)
        other = await world.submit(mode, "subprocess", timeout_seconds=60)
        await until(lambda: other.done)
        assert not running.logged("draining")

    assert (job.output, other.output) == (-15, -15)


@pytest.mark.parametrize("mode", ["coroutine", "thread", "process"])
async def test_a_forked_child_that_comes_back_from_the_handler_ends_there(
    world: RunnerStack, tmp_path: Path, mode: str
) -> None:
    async with running_program(world, tmp_path, HANDLERS):
        job = await world.submit(mode, "returns")
        await until(lambda: job.done)

    assert job.output == 70
