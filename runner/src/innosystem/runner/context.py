"""What a handler is told about its job."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

from innosystem.jobs.v1 import job_service_pb2
from innosystem.runner.stop_signal import StopSignal


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """The job that a handler runs. Handlers that want it take it as their second argument.

    Attributes:
        job_id: The job's UUID. A handler that writes elsewhere does well to use it as its key:
            a job can be run more than once.
        customer_id: The UUID of the customer who pays.
        job_type_id: The UUID of the job type.
        processing_logic_id: The ID that the handler is registered under.
        queue: The queue that the job waited in.
        attempt: The number of this run, from 1.
        max_attempts: How many runs the job gets.
        rescue_count: How often the job was run before by a runner that vanished.
        snooze_count: How often a handler raised `Snooze` for the job.
        labels: The notes of whoever submitted the job.
        request_id: The ID of the request that submitted the job. Calls that the handler makes with
            `innosystem.client` carry it on.
        deadline: When the run is out of time; None if it may take for ever.
        stop: The runner's; handlers call `stop_requested`.
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
    stop: StopSignal | None = field(default=None, repr=False, compare=False)

    def stop_requested(self) -> bool:
        """Tell whether the run's result is of no use any more, for handlers in threads.

        Its job was cancelled, or given to another runner, or handed back because the runner stops, or
        it is out of time. Coroutines are cancelled then and processes killed. A thread can't be
        stopped: one that asks now and then can return early. What it returns is dropped. In a
        process the answer is always False.
        """
        return self.stop is not None and self.stop.requested

    @classmethod
    def of(cls, claimed: job_service_pb2.ClaimedJob, timeout_seconds: float | None, stop: StopSignal) -> Self:
        """Read a claimed job whose run begins now.

        Args:
            claimed: The job as ClaimJobs answered it.
            timeout_seconds: How long the run may take.
            stop: Tells the run when it is to stop.
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
            stop=stop,
        )
