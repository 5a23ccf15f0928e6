"""The job as its handler sees it."""

import json
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import structlog
from structlog.typing import FilteringBoundLogger

from innosystem.jobs.v1 import job_service_pb2
from innosystem.runner.saying import Listener, checkpoint_of, failed_checkpoint, progress_of, stored
from innosystem.runner.stop_signal import StopSignal
from innosystem.runner.usage_meter import UsageMeter


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """The job that a handler runs, passed to handlers that take a second argument.

    Attributes:
        job_id: The job's UUID.
        customer_id: The UUID of the customer who pays.
        job_type_id: The UUID of the job type.
        processing_logic_id: The ID that the handler is registered under.
        queue: The queue that the job waited in.
        attempt: The number of this run, from 1.
        max_attempts: How many runs the job gets.
        rescue_count: How many runners vanished while they ran the job.
        snooze_count: How many times a handler raised `Snooze` for the job.
        labels: The labels that the job was submitted with.
        request_id: The ID of the request that submitted the job. Calls that the handler makes with
            `innosystem.client` carry the same ID.
        deadline: When the run times out; None without a time limit.
        last_checkpoint: What an earlier run of the job has passed to `checkpoint`; None if there is nothing.
        listener: For the runner; handlers call `progress` and `checkpoint`.
        stop: For the runner; handlers call `stop_requested`.
        usage_meter: For the runner; handlers call `usage`.
    """

    job_id: str
    customer_id: str
    job_type_id: str
    processing_logic_id: str
    queue: str
    attempt: int
    max_attempts: int
    labels: Mapping[str, str]
    request_id: str
    deadline: datetime | None
    rescue_count: int = 0
    snooze_count: int = 0
    last_checkpoint: Any = None
    stop: StopSignal | None = field(default=None, repr=False, compare=False)
    usage_meter: UsageMeter = field(default_factory=UsageMeter, repr=False, compare=False)
    listener: Listener | None = field(default=None, repr=False, compare=False)

    @property
    def logger(self) -> FilteringBoundLogger:
        """A structlog logger whose lines have the job's ID, its handler and its request ID, in any thread and task."""
        logger: FilteringBoundLogger = structlog.get_logger().bind(**self.log_fields)
        return logger

    @property
    def log_fields(self) -> dict[str, str]:
        """The fields by which the job is found in logs."""
        return {"job_id": self.job_id, "handler": self.processing_logic_id, "request_id": self.request_id}

    @property
    def seconds_left(self) -> float | None:
        """How many seconds are left until the run times out, 0 at least; None without a time limit."""
        return None if self.deadline is None else max(0.0, (self.deadline - datetime.now(UTC)).total_seconds())

    @property
    def idempotency_key(self) -> str:
        """A key for what the handler does in other systems, the same in every attempt, because a job can run again.

        For several effects, append the name of each: `f"{job.idempotency_key}:mail"`.
        """
        return self.job_id

    def usage(self, units: int) -> None:
        """Report units that the run has used, in any thread. They add up, and each attempt begins at none.

        A job of a metered type then costs its units, up to the maximum that is reserved; without a call it costs the
        standard price, and nothing after `usage(0)` alone. Only the run that succeeds counts.

        Args:
            units: A whole number, 0 or more, of the units that the job type is priced in.

        Raises:
            TypeError: The number is not an int.
            ValueError: The number is negative, or the sum is above 2^63 - 1.
        """
        self.usage_meter.add(units)

    def progress(self, percent: float, message: str = "") -> None:
        """Say how far the run is, for GetJob and WatchJob. Costs little: the runner sends the last one, once a second.

        Args:
            percent: From 0 to 100.
            message: What the handler does, for people; truncated to 500 characters.

        Raises:
            ValueError: The percentage is not between 0 and 100.
        """
        said = progress_of(percent, message)
        if self.listener is not None:
            self.listener.progress(said)

    def checkpoint(self, data: Any) -> Awaitable[None]:
        """Store data for the next run of the job, which gets it as `last_checkpoint`; it replaces the last one.

        In `async def` handlers, `await` the call; in others it blocks. When it returns, the data is stored: it survives
        the end of this runner. It is kept until the job has SUCCEEDED, also for RetryJob.

        Args:
            data: Anything that is JSON, at most 256 KiB; None removes the last checkpoint.

        Raises:
            CheckpointError: It is not stored. Retryable unless the data is not JSON or too large.
        """
        text = checkpoint_of(data)
        return stored(failed_checkpoint("There is no run") if self.listener is None else self.listener.checkpoint(text))

    def stop_requested(self) -> bool:
        """Return whether the run's result is no longer wanted, for handlers in threads.

        The job was cancelled, given to another runner, or returned to the queue because the runner is stopping, or
        the run has timed out. In these cases coroutines are cancelled and processes killed, but a thread cannot be
        stopped: check this from time to time and return early. The return value is then dropped. In a process the
        result is always False.
        """
        return self.stop is not None and self.stop.requested

    @classmethod
    def of(
        cls,
        claimed: job_service_pb2.ClaimedJob,
        timeout_seconds: float | None,
        stop: StopSignal,
        listener: Listener | None = None,
    ) -> Self:
        """Describe a claimed job whose run starts now.

        Args:
            claimed: The job as ClaimJobs returned it.
            timeout_seconds: How long the run may take.
            stop: The signal that asks the run to stop.
            listener: Takes what the handler says.
        """
        job = claimed.job
        return cls(
            job_id=job.id,
            customer_id=job.customer_id,
            job_type_id=job.job_type_id,
            processing_logic_id=claimed.processing_logic_id,
            queue=job.queue,
            attempt=job.attempt,
            max_attempts=job.max_attempts,
            labels=dict(job.labels),
            request_id=claimed.request_id,
            deadline=None if timeout_seconds is None else datetime.now(UTC) + timedelta(seconds=timeout_seconds),
            rescue_count=job.rescue_count,
            snooze_count=job.snooze_count,
            last_checkpoint=json.loads(claimed.checkpoint_json) if claimed.checkpoint_json else None,
            stop=stop,
            listener=listener,
        )
