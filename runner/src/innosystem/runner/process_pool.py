"""Run handlers in processes: those registered with `process=True`, and jobs that may have killed their runner."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from innosystem.runner.backoff import Backoff
from innosystem.runner.batch import RunInput
from innosystem.runner.errors import HandlerRegistrationError
from innosystem.runner.handler_process import HandlerProcess, how_it_ended
from innosystem.runner.outcome import Failed, Outcome, failure, timed_out
from innosystem.runner.process_guard import ProcessGuard
from innosystem.runner.process_slots import NotStarted, ProcessSlots
from innosystem.runner.registry import Mode

log = structlog.get_logger()

_START_ATTEMPTS: Final = 3
_MB: Final = 1024 * 1024


class NoSuchHandler(Exception):
    """A handler that is missing in a process although the modules with the handlers were loaded."""


class ProcessDied(Exception):
    """A process that ended before its handler did; the message describes how."""


@dataclass(frozen=True, slots=True)
class Recycling:
    """When a process of handlers is replaced by a new one, between two calls.

    Attributes:
        calls_max: After how many calls; 0 for never.
        memory_max_mb: With more than how much memory, in MiB; 0 for any.
    """

    calls_max: int = 0
    memory_max_mb: int = 0

    def is_due(self, process: HandlerProcess) -> bool:
        """Return whether a process has done enough."""
        if self.calls_max and process.calls >= self.calls_max:
            return True
        return self.memory_max_mb > 0 and process.memory_bytes > self.memory_max_mb * _MB


class ProcessPool:
    """A pool of processes with the handlers of this one, started on demand and used for one job after the other.

    A job that dies in a used process may have died of what earlier jobs left there. Such a job is run once more in a
    new process, and only the result of that run is its outcome.

    Args:
        slots: Bound the number of processes, and how long a job waits for one.
        modules: The modules with the handlers, which each process imports.
        modes: The modes of the handlers that the processes run.
        guard: Kills the processes when the runner ends.
        recycling: When a process has done enough.
    """

    def __init__(
        self,
        slots: ProcessSlots,
        modules: Sequence[str],
        *,
        modes: Sequence[Mode],
        guard: ProcessGuard,
        recycling: Recycling,
    ) -> None:
        self._slots = slots
        self._modules = list(modules)
        self._modes = modes
        # A handler in a thread may change the working directory, and even remove it.
        self._directory = str(Path.cwd())
        self._path = [entry or self._directory for entry in sys.path]
        self._guard = guard
        self._backoff = Backoff(first_seconds=1.0, longest_seconds=30.0)
        self._recycling = recycling
        self._idle: list[HandlerProcess] = []
        self._ending: set[asyncio.Task[None]] = set()

    async def run(self, handler_id: str, inputs: Sequence[RunInput], timeout: float | None) -> Sequence[Outcome]:
        """Run a handler in a process, and return the outcome of each job. The timeout starts when the process is ready.

        Raises:
            NotStarted: No process was free, or none could be started.
            NoSuchHandler: The handler is not in the modules.
        """
        await self._slots.acquire()
        rest_seconds = 0.0
        try:
            process = await self._reused() or await self._started()
            if handler_id not in process.handlers:
                self._idle.append(process)
                raise NoSuchHandler(handler_id)
            return await self._outcomes(process, handler_id, inputs, timeout)
        except NotStarted:
            rest_seconds = self._backoff.next_seconds()
            raise
        finally:
            self._slots.release(rest_seconds)

    async def _outcomes(
        self, process: HandlerProcess, handler_id: str, inputs: Sequence[RunInput], timeout: float | None
    ) -> Sequence[Outcome]:
        was_used = process.calls > 0
        try:
            ended = await _run_in(process, handler_id, inputs, timeout)
        except ProcessDied as died:
            if not was_used:
                return [failure("PROCESS_DIED", str(died), retryable=True)] * len(inputs)
            log.warning("used_process_died", error=str(died), note="the job is run once more, in a new process")
            return await self._outcomes(await self._started(), handler_id, inputs, timeout)
        if isinstance(ended, Failed):
            return [ended] * len(inputs)
        if self._recycling.is_due(process):
            self._recycle(process)
        else:
            self._idle.append(process)
        return ended

    def _recycle(self, process: HandlerProcess) -> None:
        """End a process that has done enough, without keeping its last job waiting."""
        log.info("process_recycled", calls=process.calls, memory_mb=process.memory_bytes // _MB)
        ending = asyncio.create_task(process.end())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _reused(self) -> HandlerProcess | None:
        while self._idle:
            process = self._idle.pop()
            if process.alive:
                return process
            await process.kill()
        return None

    async def start(self) -> None:
        """Start a process before the first job, to see that it can be started.

        Raises:
            HandlerRegistrationError: It cannot import the handlers, or make their resources.
        """
        try:
            self._idle.append(await self._new())
        except (EOFError, OSError) as exc:
            raise HandlerRegistrationError(f"A process for handlers cannot be started: {exc}") from exc

    async def _new(self) -> HandlerProcess:
        return await HandlerProcess.start(self._modules, self._modes, self._path, self._directory, self._guard)

    async def _started(self) -> HandlerProcess:
        for attempt in range(1, _START_ATTEMPTS + 1):
            try:
                process = await self._new()
            except HandlerRegistrationError as exc:
                # The modules have changed since the runner started, or what a resource connects to is unavailable.
                log.error("handlers_not_loaded", attempt=attempt, error=str(exc))  # noqa: TRY400 - it is in the message
            except (EOFError, OSError) as exc:
                log.warning("process_not_started", attempt=attempt, error=f"{type(exc).__name__}: {exc}")
            else:
                self._backoff.reset()
                return process
        # Not the fault of the job.
        raise self._slots.not_started("no process could be started")

    async def close(self) -> None:
        """End the idle processes."""
        ending, self._idle = self._idle, []
        await asyncio.gather(*(process.end() for process in ending), *self._ending)


async def _run_in(
    process: HandlerProcess, handler_id: str, inputs: Sequence[RunInput], timeout: float | None
) -> Sequence[Outcome] | Failed:
    # The stop signal stays on this side: a process is killed.
    deadline = None if timeout is None else datetime.now(UTC) + timedelta(seconds=timeout)
    sent = [(input_json, replace(job, stop=None, deadline=deadline)) for input_json, job in inputs]
    try:
        async with asyncio.timeout(timeout):
            return await process.run(handler_id, sent)
    except TimeoutError:
        await process.kill()
        return timed_out(timeout or 0.0)
    except (EOFError, OSError):
        status = await process.kill()
        how = "closed its connection to the runner" if process.lingered else how_it_ended(status)
        raise ProcessDied(f"The handler's process {how}") from None
    except BaseException:
        await process.kill()
        raise
