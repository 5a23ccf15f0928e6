"""Run handlers in the runner's own process, and stop them when their time is up."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import structlog

from innosystem.runner.batch import RunInput
from innosystem.runner.calling import call_batch_blocking, call_batch_coroutine, call_blocking, call_coroutine
from innosystem.runner.context import JobContext
from innosystem.runner.outcome import Failed, Outcome, failed, timed_out
from innosystem.runner.registry import Handler, Mode
from innosystem.runner.stack_traces import task_stack, thread_stack

log = structlog.get_logger()

# A coroutine is cancelled a second time after a tenth of the time that it has to stop, and then with doubling pauses:
# one that swallowed a cancellation ends by the next, and one that cleans up is not disturbed immediately.
_FIRST_PAUSE: Final = 0.1

Ended = TypeVar("Ended")


class TaskAndThreadExecutor:
    """An executor of `async def` handlers in tasks and of `def` handlers in threads of this process.

    A handler whose time is up, or whose job is no longer the runner's, has some seconds to stop. A handler that does
    not stop is stuck: its run ends without it.

    Args:
        threads: The number of threads.
        stop_seconds: How long a handler has to stop.

    Attributes:
        stuck_changed: Called with the number of stuck handlers when it changes.
    """

    def __init__(self, *, threads: int, stop_seconds: float) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="handler")
        self._stop_seconds = stop_seconds
        self.stuck_changed: Callable[[int], None] = lambda _: None
        self._running: set[asyncio.Future[Any]] = set()
        self._stuck: set[asyncio.Future[Any]] = set()

    @property
    def has_running(self) -> bool:
        """Whether any handlers are running, including stuck ones."""
        return bool(self._running)

    async def run_coroutine(self, handler: Handler, input_json: str, job: JobContext, timeout: float | None) -> Outcome:
        """Run an `async def` handler in a task of its own.

        Raises:
            asyncio.CancelledError: The run was cancelled, and with it the handler.
        """
        name = f"handler {handler.id} of job {job.job_id}"
        task = asyncio.get_running_loop().create_task(call_coroutine(handler, input_json, job), name=name)
        return await self._watch(task, (job,), timeout, end=self._cancel, stack=lambda: task_stack(task))

    async def run_in_thread(self, handler: Handler, input_json: str, job: JobContext, timeout: float | None) -> Outcome:
        """Run a `def` handler in a thread, which can be asked to stop but not forced.

        Raises:
            asyncio.CancelledError: The run was cancelled.
        """
        return await self._in_thread(lambda: call_blocking(handler, input_json, job), (job,), timeout)

    async def run_batch(self, handler: Handler, inputs: Sequence[RunInput], timeout: float | None) -> Sequence[Outcome]:
        """Run a handler of batches in a task or in a thread, and return the outcome of each job.

        Raises:
            asyncio.CancelledError: The run was cancelled.
        """
        jobs = [job for _, job in inputs]
        if handler.mode is Mode.COROUTINE:
            name = f"handler {handler.id} of {len(jobs)} jobs"
            task = asyncio.get_running_loop().create_task(call_batch_coroutine(handler, inputs), name=name)
            ended = await self._watch(task, jobs, timeout, end=self._cancel, stack=lambda: task_stack(task))
        else:
            ended = await self._in_thread(lambda: call_batch_blocking(handler, inputs), jobs, timeout)
        return [ended] * len(jobs) if isinstance(ended, Failed) else ended

    async def _in_thread(
        self, blocking: Callable[[], Ended], jobs: Sequence[JobContext], timeout: float | None
    ) -> Ended | Failed:
        ident: list[int] = []

        def call() -> Ended:
            ident.append(threading.get_ident())
            return blocking()

        context = contextvars.copy_context()
        future = asyncio.get_running_loop().run_in_executor(self._threads, context.run, call)
        for job in jobs:
            if job.stop is not None:
                job.stop.in_thread = True
        return await self._watch(
            future, jobs, timeout, end=self._wait, stack=lambda: thread_stack(ident[0] if ident else None)
        )

    async def _watch(
        self,
        running: "asyncio.Future[Ended]",
        jobs: Sequence[JobContext],
        timeout: float | None,
        *,
        end: Callable[["asyncio.Future[Any]"], Awaitable[None]],
        stack: Callable[[], str],
    ) -> Ended | Failed:
        self._running.add(running)
        began = time.monotonic()
        try:
            await _ended_within(timeout, running)
            if running.done():
                _note_late(began, timeout)
                return failed(asyncio.CancelledError()) if running.cancelled() else running.result()
            for job in jobs:
                if job.stop is not None:
                    job.stop.requested = True
            await end(running)
            return timed_out(timeout or 0.0)
        except asyncio.CancelledError:
            await end(running)
            raise
        finally:
            if running.done():
                self._running.discard(running)
            else:
                log.error("handler_stuck", stop_seconds=self._stop_seconds, stack=stack())
                self._stuck.add(running)
                running.add_done_callback(self._not_stuck)
                self.stuck_changed(len(self._stuck))

    async def _cancel(self, task: "asyncio.Future[Any]") -> None:
        pause = self._stop_seconds * _FIRST_PAUSE
        until = time.monotonic() + self._stop_seconds
        while not task.done() and (left := until - time.monotonic()) > 0:
            task.cancel()
            await asyncio.wait([task], timeout=min(pause, left))
            pause *= 2

    async def _wait(self, future: "asyncio.Future[Any]") -> None:
        log.warning("handler_overdue", stop_seconds=self._stop_seconds, note="a thread cannot be stopped")
        await asyncio.wait([future], timeout=self._stop_seconds)

    def _not_stuck(self, running: "asyncio.Future[Any]") -> None:
        self._running.discard(running)
        self._stuck.discard(running)
        self.stuck_changed(len(self._stuck))

    def close(self) -> None:
        """Accept no more handlers. Running ones continue."""
        self._threads.shutdown(wait=False, cancel_futures=True)


async def _ended_within(seconds: float | None, running: "asyncio.Future[Any]") -> None:
    """Wait like `asyncio.wait`, with less CPU: every job passes through here."""
    loop = running.get_loop()
    ended = loop.create_future()

    def end(*_: object) -> None:
        if not ended.done():
            ended.set_result(None)

    running.add_done_callback(end)
    timer = None if seconds is None else loop.call_later(seconds, end)
    try:
        await ended
    finally:
        running.remove_done_callback(end)
        if timer is not None:
            timer.cancel()


def _note_late(began: float, timeout: float | None) -> None:
    """Log that a run took longer than it may and was not stopped: something blocked the event loop.

    Its result counts: it is complete, because the handler was not asked to stop, and the handler need not be the one
    that blocked the loop (`loop_blocked` names that one).
    """
    if timeout is not None and (seconds := time.monotonic() - began) > timeout:
        log.warning(
            "timeout_not_enforced",
            timeout_seconds=timeout,
            seconds=round(seconds, 3),
            note="the event loop was blocked; the result counts",
        )
