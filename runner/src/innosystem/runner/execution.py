"""Runs a handler: in the event loop, in a thread, or in a process."""

import asyncio
import contextvars
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from innosystem.jobs.v1 import job_service_pb2, job_type_pb2
from innosystem.runner.context import JobContext
from innosystem.runner.logs import job_in_logs
from innosystem.runner.outcome import (
    Failed,
    Outcome,
    Snoozed,
    failure,
    parse_input,
    raised,
    succeeded,
    timed_out,
)
from innosystem.runner.processes import ProcessPool
from innosystem.runner.registry import Handler, Mode, Registry
from innosystem.runner.stopping import StopReason, StopSignal

log = structlog.get_logger()

_RUNNABLE = frozenset({job_type_pb2.PROCESSOR_TYPE_SYNC, job_type_pb2.PROCESSOR_TYPE_ASYNC})
_SHOWN_HANDLERS = 20


def arguments(handler: Handler, parsed: Any, job: JobContext) -> Sequence[Any]:
    """Tell what to call a handler with."""
    return (parsed, job) if handler.takes_job else (parsed,)


def call_blocking(handler: Handler, input_json: str, job: JobContext) -> Outcome:
    """Run a `def` in this thread."""
    try:
        value = handler.function(*arguments(handler, parse_input(input_json), job))
    except BaseException as exc:  # noqa: BLE001 - SystemExit of a handler must not end the runner
        return raised(exc)
    return succeeded(value)


class Executor:
    """Runs the handlers of claimed jobs.

    How a handler is written decides how it is run. The job type's processor type is checked only
    for being one that this runner knows (SYNC and ASYNC): a handler may be rewritten from `def` to
    `async def` without anybody touching the job type.

    Args:
        registry: The handlers.
        threads: How many threads there are for handlers.
        processes: How many processes there are for handlers.
    """

    def __init__(self, registry: Registry, *, threads: int, processes: int) -> None:
        self._registry = registry
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="handler")
        self._processes = ProcessPool(processes, registry.modules)
        self._in_threads: set[asyncio.Future[Outcome]] = set()

    def can_cancel(self, claimed: job_service_pb2.ClaimedJob) -> bool:
        """Tell whether cancelling `execute` stops the handler: one in a thread nothing can stop."""
        handler = self._registry.get(claimed.processing_logic_id)
        return handler is None or handler.mode is not Mode.THREAD

    async def execute(self, claimed: job_service_pb2.ClaimedJob, stop: StopSignal | None = None) -> Outcome:
        """Run a job's handler to its end. Whatever happens in it is an outcome.

        Args:
            claimed: The job.
            stop: Tells the run when its result is not wanted any more.

        Raises:
            asyncio.CancelledError: The handler was cancelled.
        """
        timeout = claimed.timeout.ToNanoseconds() / 1e9 or None
        stop = stop or StopSignal()
        job = JobContext.of(claimed, timeout, stop)
        with job_in_logs(job):
            began = time.monotonic()
            outcome = await self._run(claimed, job, timeout)
            _log_outcome(outcome, stop.reason, seconds=round(time.monotonic() - began, 6))
            return outcome

    async def _run(self, claimed: job_service_pb2.ClaimedJob, job: JobContext, timeout: float | None) -> Outcome:
        if claimed.processor_type not in _RUNNABLE:
            return _unsupported(claimed.processor_type)
        handler = self._registry.get(claimed.processing_logic_id)
        if handler is None:
            return self._unknown(claimed.processing_logic_id)
        input_json = claimed.job.input_json
        if handler.mode is Mode.COROUTINE:
            return await _run_coroutine(handler, input_json, job, timeout)
        if handler.mode is Mode.THREAD:
            return await self._run_in_thread(handler, input_json, job, timeout)
        return await self._processes.run(handler.id, input_json, job, timeout)

    async def _run_in_thread(
        self, handler: Handler, input_json: str, job: JobContext, timeout: float | None
    ) -> Outcome:
        future = asyncio.get_running_loop().run_in_executor(
            self._threads,
            contextvars.copy_context().run,
            call_blocking,
            handler,
            input_json,
            job,
        )
        self._in_threads.add(future)
        future.add_done_callback(self._in_threads.discard)
        done, _ = await asyncio.wait([future], timeout=timeout)
        if done or timeout is None:
            return await future
        log.warning("handler_overdue", timeout_seconds=timeout, note="a thread can't be stopped")
        if job.stop is not None:
            job.stop.requested = True
        await asyncio.wait([future])
        return timed_out(timeout)

    def _unknown(self, handler_id: str) -> Failed:
        known = list(self._registry)
        names = ", ".join(known[:_SHOWN_HANDLERS]) or "none"
        more = f" and {len(known) - _SHOWN_HANDLERS} more" if len(known) > _SHOWN_HANDLERS else ""
        return failure(
            "UNKNOWN_HANDLER",
            f"This runner has no handler {handler_id!r}. It has: {names}{more}",
            retryable=True,
        )

    @property
    def has_stuck_threads(self) -> bool:
        """Whether handlers still run in threads. The interpreter would wait for them at its end."""
        return bool(self._in_threads)

    async def close(self) -> None:
        """Stop the processes. Threads that run go on."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._processes.close()


async def _run_coroutine(handler: Handler, input_json: str, job: JobContext, timeout: float | None) -> Outcome:
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            value = await handler.function(*arguments(handler, parse_input(input_json), job))
    except BaseException as exc:
        task = asyncio.current_task()
        if isinstance(exc, asyncio.CancelledError) and task is not None and task.cancelling():
            raise
        # A TimeoutError of the handler's own is a failure like any other.
        return timed_out(timeout or 0.0) if limit.expired() else raised(exc)
    # It may have caught its cancellation and returned all the same.
    return timed_out(timeout or 0.0) if limit.expired() else succeeded(value)


def _unsupported(number: int) -> Failed:
    try:
        name = job_type_pb2.ProcessorType.Name(number)  # type: ignore[arg-type] # any number comes
    except ValueError:
        name = f"number {number}"
    return failure(
        "UNSUPPORTED_PROCESSOR_TYPE",
        f"This runner runs PROCESSOR_TYPE_SYNC and PROCESSOR_TYPE_ASYNC, not {name}",
    )


def _log_outcome(outcome: Outcome, dropped: StopReason | None, *, seconds: float) -> None:
    if dropped is not None:
        log.info("result_dropped", reason=dropped.value, seconds=seconds)
    elif isinstance(outcome, Snoozed):
        log.info("job_snoozed", snooze_seconds=outcome.seconds, seconds=seconds)
    elif isinstance(outcome, Failed):
        log.warning(
            "job_failed",
            error_type=outcome.type,
            error=outcome.message,
            retryable=outcome.retryable,
            **({} if outcome.retry_after_seconds is None else {"retry_after_seconds": outcome.retry_after_seconds}),
            seconds=seconds,
            **({"exception": outcome.trace} if outcome.trace else {}),
        )
    else:
        log.info("job_succeeded", seconds=seconds)
