"""The processes that run handlers registered with `process=True`, and jobs that are suspected of killing their runner.

Each process runs one handler at a time, so it can be killed with its handler and what that has started, and nothing
else; a ProcessPoolExecutor would break as a whole.
"""

import asyncio
import json
import os
import pickle
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

import structlog

from innosystem.runner.backoff import Backoff
from innosystem.runner.context import JobContext
from innosystem.runner.guard import Guard
from innosystem.runner.intake import ProcessIntake
from innosystem.runner.logs import log_arguments
from innosystem.runner.outcome import Outcome, failure, timed_out

log = structlog.get_logger()

_START_SECONDS: Final = 60.0
_START_ATTEMPTS: Final = 3
_END_SECONDS: Final = 2.0
LENGTH_BYTES: Final = 4
# The runner's path is set before anything of ours is imported: the current directory may be on it.
_BOOT: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from innosystem.runner.process_worker import main; main(int(sys.argv[1]))"
)
_SIGNAL_HINTS: Final[Mapping[int, str]] = {
    signal.SIGKILL: "perhaps it took too much memory",
    signal.SIGSEGV: "a native library crashed, or it recursed too deeply",
    signal.SIGABRT: "a native library gave up",
}


class NotBegun(Exception):
    """A handler could not be called here soon; others may run the job at once."""


class NoSuchHandler(Exception):
    """A process that has loaded the modules with the handlers does not have this one."""


class ProcessPool:
    """Processes with the handlers of this one. They are started when they are needed.

    Args:
        count: How many run at once.
        modules: The modules with the handlers, which each process imports.
        guard: Ends them with the runner.
        intake: Is told how many jobs wait for a process.
        wait_seconds: How long a job waits for one.
        reused: Whether a process runs one job after the other. If not, each runs one.
    """

    def __init__(
        self,
        count: int,
        modules: Sequence[str],
        *,
        guard: Guard,
        intake: ProcessIntake,
        wait_seconds: float,
        reused: bool = True,
    ) -> None:
        self._modules = list(modules)
        # A handler in a thread may change the directory, and remove the one that it has changed to.
        self._directory = str(Path.cwd())
        self._path = [entry or self._directory for entry in sys.path]
        self._guard = guard
        self._intake = intake
        self._wait_seconds = wait_seconds
        self._reused = reused
        self._free = asyncio.Semaphore(count)
        self._backoff = Backoff(first_seconds=1.0, longest_seconds=30.0)
        self._idle: list[_Process] = []

    @property
    def has_room(self) -> bool:
        """Whether a job would have a process without waiting for another one's end."""
        return not self._free.locked()

    async def run(self, handler_id: str, input_json: str, job: JobContext, timeout: float | None) -> Outcome:
        """Run a handler in a process. The time counts from when a process is there for it.

        Raises:
            NotBegun: No process was free, or none could be started.
            NoSuchHandler: The handler is not in the modules.
        """
        await self._wait_for_turn()
        rest_seconds = 0.0
        try:
            try:
                process = await self._take()
                self._backoff.reset()
            except NotBegun:
                rest_seconds = self._backoff.next_seconds()
                raise
            if handler_id not in process.handlers:
                self._idle.append(process)
                raise NoSuchHandler(handler_id)
            outcome = await _run_in(process, handler_id, input_json, job, timeout)
            if self._reused:
                self._idle.append(process)
            else:
                await process.end()
            return outcome
        finally:
            asyncio.get_running_loop().call_later(rest_seconds, self._free.release)

    async def _wait_for_turn(self) -> None:
        begun_before, begun = self._intake.waits(), False
        try:
            async with asyncio.timeout(self._wait_seconds):
                begun = await self._free.acquire()
        except TimeoutError:
            raise NotBegun("no process was free") from None
        finally:
            self._intake.waited(begun_before, begun=begun)

    async def _take(self) -> "_Process":
        while self._idle:
            process = self._idle.pop()
            if process.alive:
                return process
            await process.kill()
        for attempt in range(1, _START_ATTEMPTS + 1):
            try:
                return await _Process.start(self._modules, self._path, self._directory, self._guard)
            except (EOFError, OSError) as exc:
                log.warning("process_not_started", attempt=attempt, error=f"{type(exc).__name__}: {exc}")
        # No handler has seen the job yet: it must not pay for that.
        raise NotBegun("no process could be started")

    async def close(self) -> None:
        """End the processes that wait for work."""
        ending, self._idle = self._idle, []
        await asyncio.gather(*(process.end() for process in ending))


async def _run_in(
    process: "_Process", handler_id: str, input_json: str, job: JobContext, timeout: float | None
) -> Outcome:
    # What tells a run to stop remains on this side: a process is killed.
    deadline = None if timeout is None else datetime.now(UTC) + timedelta(seconds=timeout)
    sent = replace(job, stop=None, deadline=deadline)
    try:
        async with asyncio.timeout(timeout):
            return await process.run(handler_id, input_json, sent)
    except TimeoutError:
        await process.kill()
        return timed_out(timeout or 0.0)
    except (EOFError, OSError):
        status = await process.kill()
        said = "closed its connection to the runner" if process.lingered else _how_it_ended(status)
        return failure("PROCESS_DIED", f"The handler's process {said}", retryable=True)
    except BaseException:
        await process.kill()
        raise


def _how_it_ended(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = _SIGNAL_HINTS.get(-status)
    return f"was ended by {name}" + (f": {hint}" if hint else "")


async def _spawn(connection: socket.socket, path: list[str], directory: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _BOOT,
        str(connection.fileno()),
        json.dumps(path),
        pass_fds=[connection.fileno()],
        cwd=directory,
        stdin=asyncio.subprocess.DEVNULL,
        # What the handler starts is in this process's group and can be killed with it. And Ctrl-C in a terminal reaches
        # the runner alone, which lets handlers finish.
        start_new_session=True,
    )


class _Process:
    """One process and the socket to it.

    Attributes:
        handlers: The IDs of the handlers that it has.
        lingered: Whether it went on without its connection, until it was killed.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        guard: Guard,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._guard = guard
        self.handlers: frozenset[str] = frozenset()
        self.lingered = False

    @classmethod
    async def start(cls, modules: list[str], path: list[str], directory: str, guard: Guard) -> Self:
        """Start a process and wait until it has imported the handlers."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await _spawn(theirs, path, directory)
            reader, writer = await asyncio.open_unix_connection(sock=ours)
        except BaseException:
            # Cancelled, perhaps: the process, if there is one, ends by itself when its socket closes.
            ours.close()
            raise
        started = cls(process, reader, writer, guard)
        try:
            await guard.watch(process.pid)
            async with asyncio.timeout(_START_SECONDS):
                started.handlers = await started.ask((modules, log_arguments()))
        except (EOFError, OSError) as exc:
            status = await started.kill()
            raise EOFError(f"{type(exc).__name__}: {exc}; it ended with status {status}") from exc
        except BaseException:
            await started.kill()
            raise
        return started

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.returncode is None and not self._reader.at_eof()

    async def run(self, handler_id: str, input_json: str, job: JobContext) -> Outcome:
        """Run a handler there."""
        outcome: Outcome = await self.ask((handler_id, input_json, job))
        return outcome

    async def ask(self, message: object) -> Any:
        """Send a message and wait for the answer.

        Raises:
            EOFError, OSError: The process is gone.
        """
        payload = pickle.dumps(message)
        try:
            self._writer.write(len(payload).to_bytes(LENGTH_BYTES) + payload)
        except RuntimeError as exc:
            # As uvloop says that it is closed.
            raise EOFError(str(exc)) from exc
        await self._writer.drain()
        length = int.from_bytes(await self._reader.readexactly(LENGTH_BYTES))
        # From our own child, through a socket that nobody else has.
        return pickle.loads(await self._reader.readexactly(length))  # noqa: S301

    async def end(self) -> None:
        """Have the process end by itself, so that it writes the lines that it has logged; kill it if it does not."""
        # Not closed only: a process that a handler forked may hold this end open.
        # And one that has ended already has closed it: uvloop says that by a RuntimeError.
        with suppress(OSError, RuntimeError):
            self._writer.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await self._process.wait()
        await self.kill()

    async def kill(self) -> int:
        """End the process and all that it has started, and return its status, negative for a signal."""
        if self._process.returncode is None:
            try:
                # One that is ending by itself gets the time to tell its status.
                if self._reader.at_eof():
                    async with asyncio.timeout(1.0):
                        await self._process.wait()
            except TimeoutError:
                self.lingered = True
                log.warning("process_lingers", pid=self._process.pid)
        # Also if it has ended by itself: its children have not.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._writer.close()
        status = await self._process.wait()
        self._guard.forget(self._process.pid)
        return status
