"""Run a job to its end as the platform would: all its attempts, with what the runner does around each."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

from innosystem.client import new_id
from innosystem.jobs.v1 import job_pb2, job_service_pb2
from innosystem.runner.errors import JobError
from innosystem.runner.executor import Executor
from innosystem.runner.outcome import Outcome, Succeeded
from innosystem.runner.registry import Mode, default_registry
from innosystem.runner.resources import Values, made
from innosystem.runner.stop_signal import StopReason, StopSignal
from innosystem.runner.testing.handlers import find
from innosystem.runner.testing.rules import Ending, JobRules, ending

FinalStatus: TypeAlias = Literal["SUCCEEDED", "FAILED", "CANCELLED"]

_THREADS: Final = 1
_DEFAULT: Final = JobRules()


class Cancellation:
    """Cancels a job, as a customer does while it runs. Whatever the test has at hand may call `request`."""

    def __init__(self) -> None:
        self._requested = False
        self._cancel: Callable[[], object] | None = None

    def request(self) -> None:
        """Cancel the job: now if it runs, else before its next run. Any thread may call this."""
        self._requested = True
        if self._cancel is not None:
            self._cancel()

    @property
    def requested(self) -> bool:
        """Whether the job was cancelled."""
        return self._requested

    def watch(self, cancel: Callable[[], object] | None) -> None:
        """Have a function called when the job is cancelled; None ends that."""
        self._cancel = cancel
        if cancel is not None and self._requested:
            cancel()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a job.

    Attributes:
        number: What `JobContext.attempt` was: a run that was snoozed has the number of the next one.
        waited_seconds: How long the job would have waited before it.
        outcome: How it has ended; None if the job was cancelled.
        error: Why it has failed.
    """

    number: int
    waited_seconds: float
    outcome: Outcome | None
    error: JobError | None = None


@dataclass(slots=True)
class JobResult:
    """A job that has ended.

    Attributes:
        attempts: Its runs.
        status: How it has ended.
        output: The output of the run that succeeded, as parsed JSON.
        error: Why it has failed.
        charged_cents: What it costs: nothing unless it has succeeded.
        usage_units: What the handler has reported.
    """

    attempts: list[Attempt] = field(default_factory=list)
    status: FinalStatus = "CANCELLED"
    output: Any = None
    error: JobError | None = None
    charged_cents: int = 0
    usage_units: int | None = None

    @property
    def waited_seconds(self) -> float:
        """How long the job would have waited between its runs."""
        return sum(attempt.waited_seconds for attempt in self.attempts)


async def run_job_async(
    handler: Callable[..., Any] | str,
    input: Any = None,
    *,
    rules: JobRules = _DEFAULT,
    resources: Values | None = None,
    cancellation: Cancellation | None = None,
    **job: Any,
) -> JobResult:
    """Run a job until it has ended, for tests with an event loop.

    Each run is that of a runner, with middleware, resources, the timeout and `on_failure`. Between them the rules of
    the platform are applied: retries, backoff, snoozing and the charge. The waits are counted and not made. A handler
    with `process=True` runs in a thread here.

    Args:
        handler: The function, or the ID that it is registered under.
        input: The input of the job.
        rules: What the job type says.
        resources: What is used instead of the resources of these types.
        cancellation: Cancels the job.
        job: Fields of the job: `job_id`, `customer_id`, `job_type_id`, `queue`, `labels`.

    Raises:
        HandlerRegistrationError: A resource is not registered, or cannot be made.
        ValueError: A job has no such field.
    """
    found = find(handler)
    if found.mode is Mode.PROCESS:
        found = replace(found, mode=Mode.THREAD)
    registry = default_registry.with_only(found)
    claimed = _claimed(found.id, input, rules, job)
    cancellation = cancellation or Cancellation()
    given = resources or {}
    async with made(registry.resources_of_runner(given=given), instead=given) as values:
        executor = Executor(registry, threads=_THREADS, processes=1, resources=values)
        try:
            return await _attempts(executor, claimed, rules, cancellation)
        finally:
            await executor.close()


def run_job(
    handler: Callable[..., Any] | str,
    input: Any = None,
    *,
    rules: JobRules = _DEFAULT,
    resources: Values | None = None,
    cancellation: Cancellation | None = None,
    **job: Any,
) -> JobResult:
    """Run a job like `run_job_async`, for tests without an event loop."""
    return asyncio.run(
        run_job_async(handler, input, rules=rules, resources=resources, cancellation=cancellation, **job)
    )


async def _attempts(
    executor: Executor, claimed: job_service_pb2.ClaimedJob, rules: JobRules, cancellation: Cancellation
) -> JobResult:
    result, job, waited = JobResult(), claimed.job, 0.0
    while not cancellation.requested:
        job.attempt += 1
        outcome = await _run(executor, claimed, cancellation)
        if outcome is None:
            result.attempts.append(Attempt(job.attempt, waited, None))
            break
        ended = ending(outcome, rules, attempt=job.attempt, snooze_count=job.snooze_count)
        result.attempts.append(Attempt(job.attempt, waited, outcome, ended.error))
        if ended.status in ("SUCCEEDED", "FAILED"):
            await _finish(result, outcome, ended, executor, claimed)
            break
        waited = ended.wait_seconds
        if not ended.uses_attempt:
            job.attempt -= 1
            job.snooze_count += 1
    return result


async def _run(executor: Executor, claimed: job_service_pb2.ClaimedJob, cancellation: Cancellation) -> Outcome | None:
    """Run the job once; None if it was cancelled."""
    stop = StopSignal()
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(executor.execute(claimed, stop))

    def cancel() -> None:
        if not running.done():
            stop.drop(StopReason.CANCELLED)
            running.cancel()

    cancellation.watch(lambda: loop.call_soon_threadsafe(cancel))
    try:
        outcome = await running
    except asyncio.CancelledError:
        if stop.reason is None:
            raise
        return None
    finally:
        cancellation.watch(None)
    return outcome if stop.reason is None else None


async def _finish(
    result: JobResult,
    outcome: Outcome,
    ended: Ending,
    executor: Executor,
    claimed: job_service_pb2.ClaimedJob,
) -> None:
    result.error, result.charged_cents = ended.error, ended.charged_cents
    if isinstance(outcome, Succeeded):
        result.status, result.output = "SUCCEEDED", json.loads(outcome.output_json)
        result.usage_units = outcome.usage_units
        return
    result.status = "FAILED"
    hook = executor.failure_hook(claimed)
    if hook is not None and ended.error is not None:
        await hook(ended.error)


def _claimed(handler_id: str, input: Any, rules: JobRules, job: dict[str, Any]) -> job_service_pb2.ClaimedJob:
    fields = {"job_id": str(new_id()), "customer_id": str(new_id()), "job_type_id": str(new_id()), "queue": "default"}
    fields |= job
    claimed = job_service_pb2.ClaimedJob(
        job=job_pb2.Job(
            id=fields.pop("job_id"),
            input_json=json.dumps(input),
            max_attempts=rules.max_attempts,
            **fields,  # type: ignore[arg-type] # the message checks them
        ),
        processing_logic_id=handler_id,
        request_id=str(new_id()),
        isolated=False,
    )
    if rules.timeout_seconds is not None:
        claimed.timeout.FromNanoseconds(int(rules.timeout_seconds * 1e9))
    return claimed
