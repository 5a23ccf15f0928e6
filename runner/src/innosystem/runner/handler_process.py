"""The processes that run handlers.

Each process runs one handler at a time. Killing it affects only this handler and the processes that the handler has
started; a ProcessPoolExecutor would break as a whole.
"""

import asyncio
import json
import os
import pickle
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

import structlog

from innosystem.runner.batch import RunInput
from innosystem.runner.errors import CheckpointError, HandlerRegistrationError
from innosystem.runner.handler_process_messages import (
    LENGTH_BYTES,
    Checkpoint,
    CheckpointResult,
    LoadHandlers,
    NotLoaded,
    RunHandler,
    Said,
    framed,
)
from innosystem.runner.logs import log_arguments
from innosystem.runner.outcome import Outcome, Succeeded
from innosystem.runner.process_guard import ProcessGuard
from innosystem.runner.registry import Mode
from innosystem.runner.resources import CLOSE_SECONDS
from innosystem.runner.saying import Listener, failed_checkpoint

log = structlog.get_logger()

_START_SECONDS: Final = 60.0
_END_SECONDS: Final = CLOSE_SECONDS + 1.0

# Set the runner's path before the first import from it: the current directory may be on the path.
_BOOT: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from innosystem.runner.handler_process_program import main; main(int(sys.argv[1]))"
)
_SIGNAL_HINTS: Final[Mapping[int, str]] = {
    signal.SIGKILL: "possibly out of memory",
    signal.SIGSEGV: "a native library crashed, or the recursion was too deep",
    signal.SIGABRT: "a native library aborted",
}


def how_it_ended(status: int) -> str:
    """Describe how a process ended, for people."""
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
        # Processes that the handler starts join this process's group and can be killed with it. And Ctrl-C in a
        # terminal reaches only the runner, which lets handlers finish.
        start_new_session=True,
    )


class HandlerProcess:
    """A process for handlers, and the socket to it.

    Attributes:
        handlers: The IDs of the handlers that the process has loaded.
        lingered: Whether the process continued without its connection until it was killed.
        calls: How many times the process has called a handler.
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
        self.lingered = False
        self.calls = 0
        self._ending = asyncio.create_task(self._ended())

    @classmethod
    async def start(
        cls, modules: list[str], modes: Sequence[Mode], path: list[str], directory: str, guard: ProcessGuard
    ) -> Self:
        """Start a process and wait until it has imported the handlers.

        Raises:
            HandlerRegistrationError: It cannot import them, or make their resources.
            EOFError, OSError: It has ended.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await _spawn(theirs, path, directory)
            reader, writer = await asyncio.open_unix_connection(sock=ours)
        except BaseException:
            # Possibly cancelled: a process that was started ends by itself when its socket closes.
            ours.close()
            raise
        started = cls(process, reader, writer, guard)
        try:
            await guard.watch(process.pid)
            async with asyncio.timeout(_START_SECONDS):
                loaded = await started.request(LoadHandlers(modules, modes, *log_arguments()))
            if isinstance(loaded, NotLoaded):
                raise HandlerRegistrationError(loaded.error)
            started.handlers = loaded
        except (EOFError, OSError) as exc:
            status = await started.kill()
            raise EOFError(f"{type(exc).__name__}: {exc}; it ended with status {status}") from exc
        except BaseException:
            await started.kill()
            raise
        return started

    async def _ended(self) -> int:
        """Wait until the process ends, and immediately kill the rest of its group.

        Never later: once the group is empty, its ID may be reused by other processes.
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
        """Whether the process accepts requests."""
        return self._process.returncode is None and not self._reader.at_eof()

    @property
    def memory_bytes(self) -> int:
        """How much memory the process uses (its resident set); 0 if it has ended. Linux only."""
        try:
            pages = Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii").split()[1]
        except OSError:
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    async def run(self, handler_id: str, inputs: Sequence[RunInput]) -> list[Outcome]:
        """Run a handler in the process, and return the outcome of each job."""
        self.calls += 1
        # The listeners stay on this side.
        sent = [(text, replace(job, listener=None)) for text, job in inputs]
        listeners = {job.job_id: job.listener for _, job in inputs}
        outcomes: list[Outcome] = await self.request(RunHandler(handler_id, sent), listeners)
        for (_, job), outcome in zip(inputs, outcomes, strict=True):
            if isinstance(outcome, Succeeded) and outcome.usage_units is not None:
                job.usage_meter.add(outcome.usage_units)
        return outcomes

    async def request(
        self, message: LoadHandlers | RunHandler, listeners: Mapping[str, Listener | None] = MappingProxyType({})
    ) -> Any:
        """Send a message and wait for the reply, whose type depends on the message.

        Args:
            message: The message.
            listeners: Take what the handler says about each job before that.

        Raises:
            EOFError, OSError: The process is gone.
        """
        data = framed(message)
        try:
            self._writer.write(data)
        except RuntimeError as exc:
            # uvloop's error for a closed connection.
            raise EOFError(str(exc)) from exc
        await self._writer.drain()
        while isinstance(reply := await self._read(), Said | Checkpoint):
            listener = listeners.get(reply.job_id)
            if isinstance(reply, Checkpoint):
                self._leave(reply, listener)
            elif listener is not None:
                listener.progress(reply.progress)
        return reply

    async def _read(self) -> Any:
        length = int.from_bytes(await self._reader.readexactly(LENGTH_BYTES))
        # From a child of this process, through a private socket.
        return pickle.loads(await self._reader.readexactly(length))  # noqa: S301 - from its own child process

    def _leave(self, checkpoint: Checkpoint, listener: Listener | None) -> None:
        """Have a checkpoint stored, and tell the handler when it is."""
        number = checkpoint.number
        waiting = failed_checkpoint("There is no run") if listener is None else listener.checkpoint(checkpoint.text)

        def tell(stored: "Future[None]") -> None:
            error = stored.exception()
            retryable = error.retryable if isinstance(error, CheckpointError) else True
            # The process may be gone.
            with suppress(OSError, RuntimeError):
                self._writer.write(framed(CheckpointResult(number, str(error) if error else "", retryable)))

        waiting.add_done_callback(tell)

    async def end(self) -> None:
        """Let the process exit by itself, so that it writes its pending log lines; kill it if it does not exit."""
        # Closing is not enough: a process forked by a handler may hold this end open.
        # If the process has ended already, the socket is closed and uvloop raises RuntimeError.
        with suppress(OSError, RuntimeError):
            self._writer.write_eof()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._ending), _END_SECONDS)
        await self.kill()

    async def kill(self) -> int:
        """Kill the process with its group, and return its exit status, negative for a signal."""
        if self._process.returncode is None:
            try:
                # A process that is exiting by itself gets time to do so with its own status.
                if self._reader.at_eof():
                    await asyncio.wait_for(asyncio.shield(self._ending), 1.0)
            except TimeoutError:
                self.lingered = True
                log.warning("process_lingers", pid=self._process.pid)
        if self._process.returncode is None:
            self._kill_group()
        self._writer.close()
        return await asyncio.shield(self._ending)
