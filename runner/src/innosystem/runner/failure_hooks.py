"""Call `on_failure` of handlers whose jobs have failed for good."""

import asyncio
from collections.abc import Coroutine
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Final, Protocol

import structlog

from innosystem.jobs.v1 import job_service_pb2
from innosystem.runner.around_runs import Around
from innosystem.runner.context import JobContext
from innosystem.runner.errors import JobError
from innosystem.runner.json_types import ANY_JSON, JsonType
from innosystem.runner.logs import job_in_logs
from innosystem.runner.outcome import Failed, Succeeded, failure
from innosystem.runner.registry import Handler, Mode
from innosystem.runner.resources import Values
from innosystem.runner.stop_signal import StopSignal
from innosystem.runner.task_and_thread_executor import TaskAndThreadExecutor

log = structlog.get_logger()

_SECONDS: Final = 30.0
_CONCURRENT_MAX: Final = 16
_NO_OUTPUT: Final = JsonType(ANY_JSON.decode, lambda _: Succeeded("null"), ANY_JSON.schema)


class FailureHook(Protocol):
    """Calls what the author wants to be called for a job that has failed for good."""

    def __call__(self, error: JobError) -> Coroutine[Any, Any, None]:
        """Call it, and log what it raises."""
        ...


class FailureHooks:
    """The functions that handlers name as `on_failure`, each called in the runner's process, for 30 seconds at most.

    Args:
        resources: What they take by its type.
        stop_seconds: How long one has to stop after it was asked to.
    """

    def __init__(self, *, resources: Values, stop_seconds: float) -> None:
        self._resources = resources
        self._free = asyncio.Semaphore(_CONCURRENT_MAX)
        # Not among the handlers: a function that does not stop costs no slot.
        self._executor = TaskAndThreadExecutor(threads=_CONCURRENT_MAX, stop_seconds=stop_seconds)

    @property
    def has_running(self) -> bool:
        """Whether any are running, including those that do not stop."""
        return self._executor.has_running

    def of(self, handler: Handler, claimed: job_service_pb2.ClaimedJob) -> FailureHook | None:
        """Return what to call if a job has failed for good."""
        if handler.on_failure is None:
            return None
        return partial(self._call, handler.on_failure, JobContext.of(claimed, None, StopSignal()))

    async def _call(self, around: Around, job: JobContext, error: JobError) -> None:
        bound = around.bound(self._resources)
        is_async = iscoroutinefunction(around.function)
        called = Handler(
            id=f"{job.processing_logic_id} (on_failure)",
            function=around.function,
            mode=Mode.COROUTINE if is_async else Mode.THREAD,
            takes_job=False,
            call=lambda _: bound(job, error),
            output=_NO_OUTPUT,
        )
        run = self._executor.run_coroutine if is_async else self._executor.run_in_thread
        with job_in_logs(job):
            async with self._free:
                outcome = await run(called, "", job, _SECONDS)
            if isinstance(outcome, Succeeded):
                return
            failed = outcome if isinstance(outcome, Failed) else failure("Snooze", "on_failure cannot be snoozed")
            log.error("on_failure_failed", error_type=failed.type, error=failed.message, exception=failed.trace)

    def close(self) -> None:
        """Accept no more. Running ones continue."""
        self._executor.close()
