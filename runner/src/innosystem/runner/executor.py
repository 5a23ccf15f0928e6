"""Run handlers in the event loop, in threads and in processes."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Final

import structlog

from innosystem.jobs.v1 import job_service_pb2
from innosystem.runner.around_runs import Chain
from innosystem.runner.batch import RunInput
from innosystem.runner.batches import Batches
from innosystem.runner.context import JobContext
from innosystem.runner.failure_hooks import FailureHook, FailureHooks
from innosystem.runner.logs import job_in_logs, jobs_in_logs
from innosystem.runner.metrics import DROPPED, RUN_SECONDS, outcome_label
from innosystem.runner.outbound.built_in_handlers import HANDLER_IDS, BuiltInHandlers
from innosystem.runner.outcome import AwaitingCallback, Failed, Outcome, Snoozed, Succeeded, failure
from innosystem.runner.process_backpressure import ProcessBackpressure
from innosystem.runner.process_guard import ProcessGuard
from innosystem.runner.process_pool import NoSuchHandler, ProcessPool, Recycling
from innosystem.runner.process_slots import PoolSlots, SuspectSlots
from innosystem.runner.processor_types import RUNNABLE, ProcessorTypes, type_name
from innosystem.runner.registry import IN_POOL, IN_RUNNER, Handler, Mode, Registry
from innosystem.runner.resources import Values
from innosystem.runner.saying import Listener
from innosystem.runner.stop_signal import StopReason, StopSignal
from innosystem.runner.task_and_thread_executor import TaskAndThreadExecutor

log = structlog.get_logger()

# For a service of an older release, which does not decide itself which jobs to isolate.
_SUSPECTED_FROM: Final = 2


class Executor:
    """The executor of the handlers of claimed jobs.

    The way a handler is written decides how it runs. A job type that names another processor type is logged;
    types that this runner does not support are refused.

    Args:
        registry: The handlers.
        threads: The number of threads for handlers.
        processes: The number of processes for handlers, and again for suspects.
        stop_seconds: How long a handler has to stop after it was asked to.
        resources: What handlers in this process take by its type.
        recycling: When a process for handlers is replaced.
        built_in_handlers: Calls the endpoints of job types; None if this runner calls none.

    Attributes:
        backpressure: Counts the jobs that wait for a process, and those that use no slot.
        tasks_and_threads: Runs handlers that need no process.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        threads: int,
        processes: int,
        stop_seconds: float = 10.0,
        resources: Values = MappingProxyType({}),
        recycling: Recycling = Recycling(),  # noqa: B008 - it cannot be changed
        built_in_handlers: BuiltInHandlers | None = None,
    ) -> None:
        self._registry = registry
        self._resources = resources
        self._built_in = built_in_handlers
        self._bound: dict[str, Handler] = {}
        layers = [each.bound(resources) for each in registry.middleware]
        self._chain = Chain(layers) if layers else None
        self._hooks = FailureHooks(resources=resources, stop_seconds=stop_seconds)
        self._processor_types = ProcessorTypes()
        self.tasks_and_threads = TaskAndThreadExecutor(threads=threads, stop_seconds=stop_seconds)
        self._guard = ProcessGuard()
        self.backpressure = ProcessBackpressure()
        self._batches = Batches(self._call_batch, self.backpressure)
        self._processes = ProcessPool(
            PoolSlots(processes, self.backpressure),
            registry.modules,
            modes=IN_POOL,
            guard=self._guard,
            recycling=recycling,
        )
        # Separate processes: suspects and the handlers of the pool do not delay each other.
        slots = SuspectSlots(processes, self.backpressure, parked_max=threads)
        self._suspects = ProcessPool(slots, registry.modules, modes=IN_RUNNER, guard=self._guard, recycling=recycling)

    @property
    def handlers(self) -> tuple[str, ...]:
        """The IDs of all handlers."""
        return (*self._registry, *(HANDLER_IDS if self._built_in else ()))

    def refusal(self, claimed: job_service_pb2.ClaimedJob) -> str | None:
        """Return why this runner cannot run a job, or None if it can."""
        if _has_endpoint(claimed):
            return None if self._built_in else "this runner calls no endpoints: see RUNNER_HTTP_ALLOWED_HOSTS"
        if claimed.processor_type not in RUNNABLE:
            return f"this runner cannot run {type_name(claimed.processor_type)}"
        if claimed.processing_logic_id not in self._registry:
            return f"this runner has no handler {claimed.processing_logic_id!r}"
        return None

    async def execute(
        self,
        claimed: job_service_pb2.ClaimedJob,
        stop: StopSignal | None = None,
        listener: Listener | None = None,
    ) -> Outcome:
        """Run a job's handler to its end. Anything that happens in the handler becomes an outcome.

        Args:
            claimed: The job.
            stop: Signals the run that its result is no longer wanted.
            listener: Takes what the handler says.

        Raises:
            LookupError: This runner cannot run the job: `refusal` returns the reason.
            NotStarted: The handler was not called, and would have to wait long.
            asyncio.CancelledError: The handler was cancelled.
        """
        timeout = claimed.timeout.ToNanoseconds() / 1e9 or None
        stop = stop or StopSignal()
        job = JobContext.of(claimed, timeout, stop, listener)
        handler_id = claimed.processing_logic_id
        with job_in_logs(job):
            began = time.monotonic()
            try:
                if self._chain is None:
                    outcome = await self._run(claimed, job, timeout)
                else:
                    outcome = await self._chain.run(job, timeout, partial(self._run, claimed, job, timeout))
            except asyncio.CancelledError:
                _note_dropped(handler_id, stop.reason, time.monotonic() - began)
                raise
            _note_outcome(handler_id, outcome, stop.reason, time.monotonic() - began)
            if job.usage_meter.units is not None and isinstance(outcome, Succeeded):
                return replace(outcome, usage_units=job.usage_meter.units)
            return outcome

    async def _run(self, claimed: job_service_pb2.ClaimedJob, job: JobContext, timeout: float | None) -> Outcome:
        if _has_endpoint(claimed):
            return await self._call_endpoint(claimed, job, timeout)
        handler = self._bound.get(claimed.processing_logic_id) or self._bind(claimed.processing_logic_id)
        if claimed.processor_type_named:
            self._processor_types.check(claimed, handler)
        input_json, is_suspect = claimed.job.input_json, _is_suspect(claimed)
        if handler.batch is not None and not is_suspect:
            return await self._batches.run(handler, handler.batch, input_json, job, timeout)
        try:
            if handler.mode is Mode.PROCESS:
                return (await self._processes.run(handler.id, [(input_json, job)], timeout))[0]
            # The job may have killed its earlier runners. Alone in a process it cannot harm others.
            if is_suspect and self._registry.modules:
                return (await self._suspects.run(handler.id, [(input_json, job)], timeout))[0]
        except NoSuchHandler:
            if handler.mode is Mode.PROCESS:
                return _unknown(handler)
            log.warning("suspect_not_isolated", note="another process cannot import its handler")
        if handler.batch is not None:
            return (await self.tasks_and_threads.run_batch(handler, [(input_json, job)], timeout))[0]
        if handler.mode is Mode.COROUTINE:
            return await self.tasks_and_threads.run_coroutine(handler, input_json, job, timeout)
        return await self.tasks_and_threads.run_in_thread(handler, input_json, job, timeout)

    async def _call_batch(
        self, handler: Handler, inputs: Sequence[RunInput], timeout: float | None
    ) -> Sequence[Outcome]:
        with jobs_in_logs([job for _, job in inputs]):
            if handler.mode is not Mode.PROCESS:
                return await self.tasks_and_threads.run_batch(handler, inputs, timeout)
            try:
                return await self._processes.run(handler.id, inputs, timeout)
            except NoSuchHandler:
                return [_unknown(handler)] * len(inputs)

    def hurry(self) -> None:
        """Let no job wait for others to be called with: the runner stops."""
        self._batches.hurry()

    async def _call_endpoint(
        self, claimed: job_service_pb2.ClaimedJob, job: JobContext, timeout: float | None
    ) -> Outcome:
        if self._built_in is None:
            raise LookupError(claimed.processing_logic_id)
        handler = self._built_in.handler(claimed, timeout)
        outcome = await self.tasks_and_threads.run_coroutine(handler, claimed.job.input_json, job, timeout)
        is_accepted = claimed.HasField("webhook") and isinstance(outcome, Succeeded)
        return AwaitingCallback(claimed.webhook.callback_token) if is_accepted else outcome

    @property
    def has_running(self) -> bool:
        """Whether any functions of authors are running in this process, including those that do not stop."""
        return self.tasks_and_threads.has_running or self._hooks.has_running

    def failure_hook(self, claimed: job_service_pb2.ClaimedJob) -> FailureHook | None:
        """Return what to call if a job turns out to have failed for good."""
        handler = self._bound.get(claimed.processing_logic_id)
        return None if handler is None else self._hooks.of(handler, claimed)

    def _bind(self, handler_id: str) -> Handler:
        handler = self._registry.get(handler_id)
        if handler is None:
            raise LookupError(handler_id)
        bound = handler if handler.mode in IN_POOL else handler.bound(self._resources)
        self._bound[handler_id] = bound
        return bound

    async def start(self) -> None:
        """Start a process if one needs resources.

        Raises:
            HandlerRegistrationError: They cannot be made.
        """
        if self._registry.resources(IN_POOL):
            await self._processes.start()

    async def close(self) -> None:
        """Stop the processes. Running threads continue."""
        self.tasks_and_threads.close()
        self._hooks.close()
        await self._processes.close()
        await self._suspects.close()
        await self._guard.close()


def _has_endpoint(claimed: job_service_pb2.ClaimedJob) -> bool:
    return claimed.HasField("external_api") or claimed.HasField("webhook")


def _is_suspect(claimed: job_service_pb2.ClaimedJob) -> bool:
    return claimed.isolated if claimed.HasField("isolated") else claimed.job.rescue_count >= _SUSPECTED_FROM


def _unknown(handler: Handler) -> Failed:
    # The module has changed since this runner started: other runners may have the handler.
    return failure("UNKNOWN_HANDLER", f"The process has no handler {handler.id!r}", retryable=True)


def _note_dropped(handler_id: str, reason: StopReason | None, seconds: float) -> None:
    if reason is not None:
        RUN_SECONDS.labels(handler_id, DROPPED).observe(seconds)
        log.info("result_dropped", reason=reason.value, seconds=round(seconds, 6))


def _note_outcome(handler_id: str, outcome: Outcome, dropped: StopReason | None, seconds: float) -> None:
    """Count how a run has ended, and log what is final now: a success is logged once the service has recorded it."""
    if dropped is not None:
        _note_dropped(handler_id, dropped, seconds)
        return
    RUN_SECONDS.labels(handler_id, outcome_label(outcome)).observe(seconds)
    seconds = round(seconds, 6)
    if isinstance(outcome, Snoozed):
        log.info("job_snoozed", snooze_seconds=outcome.seconds, seconds=seconds)
    elif isinstance(outcome, AwaitingCallback):
        log.info("job_posted", seconds=seconds)
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
