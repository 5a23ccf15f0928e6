"""The processes that run handlers.

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
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Self

import structlog

from innosystem.runner.context import JobContext
from innosystem.runner.logs import log_arguments
from innosystem.runner.outcome import Outcome
from innosystem.runner.process_guard import ProcessGuard

log = structlog.get_logger()

_START_SECONDS: Final = 60.0
_END_SECONDS: Final = 2.0
LENGTH_BYTES: Final = 4
# The runner's path is set before anything of ours is imported: the current directory may be on it.
_BOOT: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from innosystem.runner.handler_process_program import main; main(int(sys.argv[1]))"
)
_SIGNAL_HINTS: Final[Mapping[int, str]] = {
    signal.SIGKILL: "perhaps it took too much memory",
    signal.SIGSEGV: "a native library crashed, or it recursed too deeply",
    signal.SIGABRT: "a native library gave up",
}


def how_it_ended(status: int) -> str:
    """Say what ended a process, for people."""
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


class HandlerProcess:
    """One process and the socket to it.

    Attributes:
        handlers: The IDs of the handlers that it has.
        lingered: Whether it went on without its connection, until it was killed.
        used: Whether it has been given a job.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        guard: ProcessGuard,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._guard = guard
        self.handlers: frozenset[str] = frozenset()
        self.lingered = self.used = False
        self._ending = asyncio.create_task(self._ended())

    @classmethod
    async def start(cls, modules: list[str], path: list[str], directory: str, guard: ProcessGuard) -> Self:
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

    async def _ended(self) -> int:
        """Wait for the process's end, and end what it has started with it.

        At once, and never later: when nobody of its group is left, its ID is free for other processes.
        """
        status = await self._process.wait()
        self._kill_group()
        self._guard.forget(self._process.pid)
        return status

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.returncode is None and not self._reader.at_eof()

    async def run(self, handler_id: str, input_json: str, job: JobContext) -> Outcome:
        """Run a handler there."""
        self.used = True
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
            await asyncio.wait_for(asyncio.shield(self._ending), _END_SECONDS)
        await self.kill()

    async def kill(self) -> int:
        """End the process and all that it has started, and return its status, negative for a signal."""
        if self._process.returncode is None:
            try:
                # One that is ending by itself gets the time to tell its status.
                if self._reader.at_eof():
                    await asyncio.wait_for(asyncio.shield(self._ending), 1.0)
            except TimeoutError:
                self.lingered = True
                log.warning("process_lingers", pid=self._process.pid)
        if self._process.returncode is None:
            self._kill_group()
        self._writer.close()
        return await asyncio.shield(self._ending)
