"""The processes that run handlers registered with `process=True`.

Each process runs one handler at a time, so it can be killed with its handler and nothing else; a
ProcessPoolExecutor would break as a whole. A process ends by itself when its runner is gone,
because its socket closes.
"""

import asyncio
import json
import pickle
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

import structlog

from innosystem.runner.context import JobContext
from innosystem.runner.logs import log_arguments
from innosystem.runner.outcome import Outcome, failure, timed_out

log = structlog.get_logger()

_START_SECONDS: Final = 60.0
_START_ATTEMPTS: Final = 3
LENGTH_BYTES: Final = 4
# The runner's path is set before anything of ours is imported: the current directory may be on it.
_BOOT: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from innosystem.runner.process_worker import main; main(int(sys.argv[1]))"
)


class ProcessPool:
    """Processes with the handlers of this one. They are started when they are needed.

    Args:
        count: How many run at once.
        modules: The modules with the handlers, which each process imports.
    """

    def __init__(self, count: int, modules: Sequence[str]) -> None:
        self._modules = list(modules)
        self._free = asyncio.Semaphore(count)
        self._idle: list[_Process] = []

    async def run(self, handler_id: str, input_json: str, job: JobContext, timeout: float | None) -> Outcome:
        """Run a handler in a process. The time counts from when a process is free for it."""
        async with self._free:
            process = await self._take()
            if process is None:
                return failure("PROCESS_DIED", "The handler's process did not start", retryable=True)
            # What tells a run to stop remains on this side: a process is killed.
            sent = replace(job, stop=None)
            try:
                async with asyncio.timeout(timeout):
                    outcome = await process.run(handler_id, input_json, sent)
            except TimeoutError:
                await process.kill()
                return timed_out(timeout or 0.0)
            except (EOFError, OSError):
                status = await process.kill()
                return failure(
                    "PROCESS_DIED",
                    f"The handler's process ended with status {status}",
                    retryable=True,
                )
            except BaseException:
                await process.kill()
                raise
            self._idle.append(process)
            return outcome

    async def _take(self) -> "_Process | None":
        while self._idle:
            process = self._idle.pop()
            if process.alive:
                return process
            await process.kill()
        for attempt in range(1, _START_ATTEMPTS + 1):
            try:
                return await _Process.start(self._modules)
            except (EOFError, OSError) as exc:
                # No handler has seen the job yet: it must not pay for that.
                log.warning("process_not_started", attempt=attempt, error=f"{type(exc).__name__}: {exc}")
        return None

    async def close(self) -> None:
        """Kill the processes that wait for work."""
        while self._idle:
            await self._idle.pop().kill()


async def _spawn(connection: socket.socket) -> asyncio.subprocess.Process:
    path = [entry or str(Path.cwd()) for entry in sys.path]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _BOOT,
        str(connection.fileno()),
        json.dumps(path),
        pass_fds=[connection.fileno()],
        stdin=asyncio.subprocess.DEVNULL,
        # Ctrl-C in a terminal reaches the runner alone, which lets handlers finish.
        start_new_session=True,
    )


class _Process:
    """One process and the socket to it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls, modules: list[str]) -> Self:
        """Start a process and wait until it has imported the handlers."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await _spawn(theirs)
            reader, writer = await asyncio.open_unix_connection(sock=ours)
        except BaseException:
            # Cancelled, perhaps: the process, if there is one, ends by itself when its socket closes.
            ours.close()
            raise
        started = cls(process, reader, writer)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await started.ask((modules, log_arguments()))
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
        self._writer.write(len(payload).to_bytes(LENGTH_BYTES) + payload)
        await self._writer.drain()
        length = int.from_bytes(await self._reader.readexactly(LENGTH_BYTES))
        # From our own child, through a socket that nobody else has.
        return pickle.loads(await self._reader.readexactly(length))  # noqa: S301

    async def kill(self) -> int:
        """End the process and answer its status, negative for a signal."""
        if self._process.returncode is None:
            try:
                # One that is ending by itself gets the time to tell its status.
                if self._reader.at_eof():
                    async with asyncio.timeout(1.0):
                        await self._process.wait()
            except TimeoutError:
                log.warning("process_lingers", pid=self._process.pid)
        if self._process.returncode is None:
            self._process.kill()
        self._writer.close()
        return await self._process.wait()
