"""The base of the senders that report results, charges and settlements."""

import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import structlog
from grpc import StatusCode
from typing_extensions import override

from innosystem.client import InnosystemError
from innosystem.runner.backoff import Backoff
from innosystem.runner.batch_sender import BatchSender
from innosystem.runner.in_hand import JobInHand, JobsInHand
from innosystem.runner.metrics import UNREPORTED
from innosystem.runner.service_client import CallFailed, HeldUp

log = structlog.get_logger()

Result = TypeVar("Result")

_TRANSIENT: Final = frozenset(
    {
        StatusCode.ABORTED,
        StatusCode.CANCELLED,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.INTERNAL,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.UNAVAILABLE,
        StatusCode.UNKNOWN,
    }
)


def is_transient(error: InnosystemError) -> bool:
    """Return whether an item of a batch may succeed when it is sent again unchanged."""
    return error.code in _TRANSIENT and error.reason != "LEASE_LOST"


class ReportSender(BatchSender[JobInHand]):
    """A sender of reports on jobs, which retries until their time is up.

    Args:
        in_hand: The jobs in the runner's hands.
    """

    rest = 1.0

    def __init__(self, in_hand: JobsInHand) -> None:
        super().__init__()
        self.in_hand = in_hand

    def report(self, job: JobInHand) -> None:
        """Take a job from the previous stage and report it with the next batch."""
        job.stage, job.retries = self.name, 0
        self.put(job)

    @override
    def is_wanted(self, item: JobInHand) -> bool:
        """Return whether the job is still in the runner's hands."""
        return not item.removed

    def retry(self, job: JobInHand, error: InnosystemError | CallFailed) -> None:
        """Report a job again after a failure that concerns this job alone, until its time is up.

        A job that is held up, for example by a locked row, is sent alone so that it does not hold up others.
        """
        if time.monotonic() > job.report_until:
            self.drop([job], str(error))
            return
        backoff = Backoff(first_seconds=0.02, longest_seconds=2.0)
        backoff.failures = job.retries
        job.retries += 1
        alone = isinstance(error, HeldUp) or error.code is StatusCode.ABORTED
        (self.put_alone_later if alone else self.put_later)(job, backoff.next_seconds(error.retry_after_seconds))

    def handle_results(
        self, batch: list[JobInHand], results: Sequence[Result], handle: Callable[[JobInHand, Result], None]
    ) -> None:
        """Handle the result of each job of a batch; a result that cannot be handled affects its own job only."""
        if len(results) != len(batch):
            raise ValueError(f"{len(results)} results for {len(batch)} jobs")
        for job, result in zip(batch, results, strict=True):
            try:
                handle(job, result)
            except Exception:
                log.exception("result_not_understood", stage=self.name, job_id=job.job_id, request_id=job.request_id)
                self.in_hand.remove(job)

    def seconds_left(self, batch: list[JobInHand]) -> float:
        """Return how long to retry a batch: until the last of its jobs runs out of time."""
        return max(job.report_until for job in batch) - time.monotonic()

    @override
    async def give_up(self, batch: list[JobInHand], error: Exception) -> None:
        """Leave jobs to the platform, which rescues and settles them."""
        self.drop(batch, str(error))

    @override
    async def put_aside(self, item: JobInHand, error: HeldUp) -> None:
        """Retry a job that was held up even alone."""
        self.retry(item, error)

    @override
    def abandon(self, items: list[JobInHand]) -> None:
        """Drop jobs: those still running at the server are rescued when their leases end."""
        for job in items:
            self.in_hand.remove(job)

    def drop(self, jobs: list[JobInHand], error: str) -> None:
        """Drop jobs that cannot be reported, and log their IDs."""
        self.abandon(jobs)
        UNREPORTED.labels(self.name).inc(len(jobs))
        log.error("report_given_up", stage=self.name, job_ids=[job.job_id for job in jobs], error=error)
