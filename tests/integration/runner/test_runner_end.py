"""The runner's process lives exactly as long as the runner, regardless of what handlers leave in it."""

import os
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.integration.runner.conftest import RunnerStack
from tests.integration.runner.programs import gone, running_program
from tests.support.until import until

HANDLERS = """
import asyncio, multiprocessing, os, pathlib, signal, subprocess, sys, threading, time
from innosystem.runner import handler

kept = []

def sleep():
    time.sleep(600)

@handler("process", process=True)
def process(input):
    return os.getpid()

@handler("forks")
def forks(input):
    pid = os.fork()
    if not pid:
        sleep()
    return pid

@handler("leaves a thread")
def leaves_thread(input):
    threading.Thread(target=sleep).start()

@handler("leaves a thread of the loop")
async def leaves_thread_of_loop(input):
    begun = threading.Event()
    kept.append(asyncio.get_running_loop().run_in_executor(None, lambda: begun.set() or sleep()))
    while not begun.is_set():
        await asyncio.sleep(0.01)

@handler("leaves a process")
def leaves_process(input):
    child = multiprocessing.get_context("spawn").Process(target=sleep)
    child.start()
    return child.pid

@handler("exits in a task")
async def exits_in_task(input):
    async def exits():
        sys.exit(0)
    await asyncio.create_task(exits())

@handler("exits in a callback")
async def exits_in_callback(input):
    asyncio.get_running_loop().call_soon(sys.exit)
    await asyncio.sleep(0.1)

@handler("stops the loop")
async def stops_loop(input):
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.1)

@handler("blocks")
async def blocks(entered):
    pathlib.Path(entered).touch()
    time.sleep(600)

async def starts_program(input):
    child = subprocess.Popen(["sleep", "600"])
    pathlib.Path(input).write_text(str(child.pid))
    await asyncio.sleep(600)

@handler("starts a program in a thread")
def starts_program_in_thread(input):
    child = subprocess.Popen(["sleep", "600"])
    pathlib.Path(input).write_text(str(child.pid))

@handler("leads a session", process=True)
def leads_session(input):
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    pathlib.Path(input).write_text(str(child.pid))
    time.sleep(600)

handler("starts a program in a coroutine")(starts_program)

@handler("ignores signals")
async def ignores_signals(input):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

@handler("ignores signals in a thread")
def ignores_signals_in_thread(input):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""


@contextmanager
def killing() -> Iterator[list[int]]:
    """Process to kill: they keep the pipe of the runner's log open, which the test reads."""
    strays: list[int] = []
    try:
        yield strays
    finally:
        for pid in strays:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def test_a_process_that_a_handler_forked_holds_up_no_end_though_it_has_copies_of_all_descriptors(
    world: RunnerStack, tmp_path: Path
) -> None:
    async with running_program(world, tmp_path, HANDLERS) as running, AsyncExitStack() as closing:
        strays = closing.enter_context(killing())
        first = await world.submit("process")
        await until(lambda: first.done)
        forks = await world.submit("forks")
        await until(lambda: forks.done)
        strays.append(forks.output)
        running.process.terminate()
        await until(lambda: gone(running.process.pid) and gone(first.output))
        assert not running.logged("process_lingers")


@pytest.mark.parametrize("what", ["a thread", "a thread of the loop", "a process"])
async def test_what_a_handler_leaves_behind_does_not_keep_a_runner_that_has_drained(
    world: RunnerStack, tmp_path: Path, what: str
) -> None:
    async with running_program(world, tmp_path, HANDLERS) as running, AsyncExitStack() as closing:
        strays = closing.enter_context(killing())
        job = await world.submit(f"leaves {what}")
        await until(lambda: job.done)
        if job.output:
            strays.append(job.output)
        running.process.terminate()
        await until(lambda: gone(running.process.pid) and running.logged("left_by_handlers"))

    assert running.process.returncode == 0


@pytest.mark.parametrize("deed", ["exits in a task", "exits in a callback", "stops the loop"])
async def test_a_handler_that_ends_the_event_loop_ends_neither_the_runner_nor_its_way_to_stop_it(
    world: RunnerStack, tmp_path: Path, deed: str
) -> None:
    entered = tmp_path / "entered"
    async with running_program(world, tmp_path, HANDLERS, RUNNER_DRAIN_SECONDS="2") as running:
        job = await world.submit(deed)
        await until(lambda: job.done)
        await until(lambda: running.logged("loop_ended_by_handler"))
        if deed == "exits in a task":
            assert job.error.type == "SystemExit"
        # Signals to stop reach the runner even while the loop is blocked.
        await world.submit("blocks", str(entered))
        await until(entered.exists)
        running.process.terminate()
        assert await running.ended() == 3


@pytest.mark.parametrize("name", ["starts a program in a coroutine", "starts a program in a thread", "leads a session"])
async def test_programs_go_on_that_are_not_in_the_group_of_a_handlers_process(
    world: RunnerStack, tmp_path: Path, name: str
) -> None:
    file = tmp_path / "pid"
    async with running_program(world, tmp_path, HANDLERS), AsyncExitStack() as closing:
        strays = closing.enter_context(killing())
        job = await world.submit(name, str(file), timeout_seconds=1)
        await until(lambda: job.done and file.exists() and file.read_text() != "")
        strays.append(int(file.read_text()))
        assert not gone(strays[0])


async def test_a_signal_handler_set_in_a_coroutine_hides_signals_from_the_runner_and_none_can_be_set_in_a_thread(
    world: RunnerStack, tmp_path: Path
) -> None:
    async with running_program(world, tmp_path, HANDLERS) as running:
        refused = await world.submit("ignores signals in a thread")
        await until(lambda: refused.done)
        assert refused.error.type == "ValueError"
        deaf = await world.submit("ignores signals")
        await until(lambda: deaf.done)
        assert ignored(running.process.pid) >> (signal.SIGTERM - 1) & 1


def ignored(pid: int) -> int:
    """Return the mask of ignored signals of a process from the kernel."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigIgn")]
    return int(line.split()[1], 16)
