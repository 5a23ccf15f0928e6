"""What a handler can do to its runner, in each mode: the proof of the table in docs/handlers.md."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.integration.runner.conftest import RunnerStack
from tests.integration.runner.fakes import StoredJob
from tests.integration.runner.programs import Program, running_program
from tests.support.until import until

HANDLERS = """
import asyncio, contextvars, ctypes, locale, logging, os, signal, socket, sys, tempfile, threading, time, uvloop
import warnings
from innosystem.runner import handler

variable = contextvars.ContextVar("variable", default="as before")
kept = []

def recurse():
    recurse()

def start_thread():
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()

def set_loop_policy():
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

def see_umask():
    umask = os.umask(0o22)
    os.umask(umask)
    return umask

def lose_directory():
    directory = tempfile.mkdtemp()
    os.chdir(directory)
    os.rmdir(directory)

def drop_logging():
    logging.getLogger().handlers.clear()
    logging.disable()

# What the handler does, and how the test notices that it was done.
CHANGES = {
    "working directory": (lambda: os.chdir("/"), os.getcwd),
    "environment": (lambda: os.environ.update(CHANGED="yes"), lambda: os.environ.get("CHANGED")),
    "umask": (lambda: os.umask(0o77), see_umask),
    "sys.path": (lambda: sys.path.append("/changed"), lambda: "/changed" in sys.path),
    "recursion limit": (lambda: sys.setrecursionlimit(2345), sys.getrecursionlimit),
    "warnings": (lambda: warnings.simplefilter("error"), lambda: warnings.filters[0][0]),
    "locale": (lambda: locale.setlocale(locale.LC_ALL, "C.UTF-8") and None, lambda: locale.setlocale(locale.LC_ALL)),
    "logging": (lambda: logging.getLogger().setLevel(7), lambda: logging.getLogger().level),
    "event loop policy": (set_loop_policy, lambda: type(asyncio.get_event_loop_policy()).__module__),
    "context variables": (lambda: variable.set("changed") and None, variable.get),
}
DEEDS = {
    "sys.exit": lambda: sys.exit(3),
    "KeyboardInterrupt": lambda: signal.default_int_handler(2, None),
    "recursion": recurse,
    "threads": start_thread,
    "sockets": lambda: kept.append(socket.socket()),
    "flood": lambda: print(("x" * 99 + "\\n") * 10_000),
    "close stdout": lambda: sys.stdout.close(),
    "close descriptor 1": lambda: os.close(1),
    "drop logging": drop_logging,
    "lose directory": lose_directory,
    "os._exit": lambda: os._exit(7),
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: ctypes.string_at(0),
    "SIGTERM": lambda: os.kill(os.getpid(), signal.SIGTERM),
}

def act(input):
    if "change" in input:
        return CHANGES[input["change"]][0]() and None
    if "look" in input:
        return CHANGES[input["look"]][1]()
    DEEDS[input["do"]]()
    return "done"

async def act_in_loop(input):
    return act(input)

handler("coroutine")(act_in_loop)
handler("thread")(act)
handler("process", process=True)(lambda input: act(input))
"""

MODES = ["coroutine", "thread", "process"]
CHANGES = [
    "environment",
    "umask",
    "sys.path",
    "recursion limit",
    "warnings",
    "locale",
    "logging",
    "event loop policy",
]
FAILS = {"sys.exit": "SystemExit", "KeyboardInterrupt": "KeyboardInterrupt", "recursion": "RecursionError"}
SUCCEEDS = ["threads", "sockets", "flood", "close descriptor 1", "close stdout", "drop logging"]
STATUS = {"os._exit": 7, "SIGKILL": -signal.SIGKILL, "segfault": -signal.SIGSEGV}


async def ran(world: RunnerStack, mode: str, **input: Any) -> StoredJob:
    job = await world.submit(mode, input)
    await until(lambda: job.done)
    return job


async def goes_on(world: RunnerStack, running: Program) -> None:
    """Assert that a runner runs and logs further jobs of all modes."""
    for mode in MODES:
        assert (await ran(world, mode, look="context variables")).output == "as before"
    logged = len(running.text)
    job = await ran(world, "thread", look="context variables")
    await until(lambda: any(job.job.id in line and "job_succeeded" in line for line in running.text[logged:]))


@pytest.mark.parametrize("mode", MODES)
async def test_what_a_handler_changes_stays_changed_in_its_own_process_only(
    world: RunnerStack, tmp_path: Path, mode: str
) -> None:
    async with running_program(world, tmp_path, HANDLERS):
        others = ["process"] if mode != "process" else ["coroutine", "thread"]
        before = {
            (change, other): (await ran(world, other, look=change)).output for change in CHANGES for other in MODES
        }
        for change in CHANGES:
            await ran(world, mode, change=change)
            assert (await ran(world, mode, look=change)).output != before[change, mode], change
            for other in others:
                assert (await ran(world, other, look=change)).output == before[change, other], change
        await ran(world, mode, change="context variables")
        assert (await ran(world, mode, look="context variables")).output == "as before"


@pytest.mark.parametrize("mode", MODES)
async def test_a_changed_working_directory_is_that_of_no_handler_in_a_process(
    world: RunnerStack, tmp_path: Path, mode: str
) -> None:
    async with running_program(world, tmp_path, HANDLERS):
        # Before the first process, so that none can be started in the runner's current directory.
        await ran(world, mode, do="lose directory")
        assert (await ran(world, "process", look="working directory")).output == str(tmp_path)
        await ran(world, mode, change="working directory")
        assert (await ran(world, "process", look="working directory")).output == str(tmp_path)
        assert (await ran(world, "thread", look="working directory")).output == (
            str(tmp_path) if mode == "process" else "/"
        )


@pytest.mark.parametrize("mode", MODES)
async def test_what_a_handler_does_fails_its_own_job_or_nothing(world: RunnerStack, tmp_path: Path, mode: str) -> None:
    async with running_program(world, tmp_path, HANDLERS) as running:
        for deed, error in FAILS.items():
            assert (await ran(world, mode, do=deed)).error.type == error
        for deed in SUCCEEDS:
            assert (await ran(world, mode, do=deed)).output == "done", deed
        await goes_on(world, running)


@pytest.mark.parametrize("deed", STATUS)
@pytest.mark.parametrize("mode", MODES)
async def test_what_ends_a_process_ends_the_runner_unless_the_handler_has_one_of_its_own(
    world: RunnerStack, tmp_path: Path, mode: str, deed: str
) -> None:
    async with running_program(world, tmp_path, HANDLERS) as running:
        job = await world.submit(mode, {"do": deed})
        if mode == "process":
            await until(lambda: job.done)
            assert job.error.type == "PROCESS_DIED"
            await goes_on(world, running)
        else:
            assert await running.ended() == STATUS[deed]
            assert job.completion is None


@pytest.mark.parametrize("mode", MODES)
async def test_a_sigterm_to_its_own_process_stops_the_runner_unless_the_handler_has_one_of_its_own(
    world: RunnerStack, tmp_path: Path, mode: str
) -> None:
    async with running_program(world, tmp_path, HANDLERS) as running:
        assert (await ran(world, mode, do="SIGTERM")).output == "done"
        if mode == "process":
            await goes_on(world, running)
        else:
            assert await running.ended() == 0
