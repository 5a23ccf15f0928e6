"""What the stages have in common that report: results, charges, settlements."""

import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import structlog
from grpc import StatusCode

from innosystem.client import InnosystemError
from innosystem.runner.backoff import Backoff
from innosystem.runner.batch_sender import BatchSender
from innosystem.runner.in_hand import JobInHand, JobsInHand
from innosystem.runner.service_client import CallFailed, HeldUp

log = structlog.get_logger()

Result = TypeVar("Result")

_PASSING: Final = frozenset(
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
    """Tell whether an item of a batch may succeed when it is sent again as it is."""
    return error.code in _PASSING and error.reason != "LEASE_LOST"


class ReportSender(BatchSender[JobInHand]):
    """Reports on jobs, again and again until their time is up.

    Args:
        in_hand: The jobs in the runner's hands.
    """

    # Nobody waits for a report as they do for a claim.
    rest = 1.0

    def __init__(self, in_hand: JobsInHand) -> None:
        super().__init__()
        self.in_hand = in_hand

    def report(self, job: JobInHand) -> None:
        """Have a job reported with the next batch, as it comes from the stage before."""
        job.stage, job.retries = self.name, 0
        self.put(job)

    def is_wanted(self, item: JobInHand) -> bool:
        """Tell whether the runner has not let go of a job meanwhile."""
        return not item.removed

    def retry(self, job: JobInHand, error: InnosystemError | CallFailed) -> None:
        """Report a job once more after a failure of its own, as long as there is time.

        One that is held up by something, such as a locked row, is sent without others: it is not to hold them up.
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
        self, batch: list[JobInHand], results: Sequence[Result], deal: Callable[[JobInHand, Result], None]
    ) -> None:
        """Deal with the result of each job of a batch; one that can't be dealt with costs its own job alone."""
        if len(results) != len(batch):
            raise ValueError(f"{len(results)} results for {len(batch)} jobs")
        for job, result in zip(batch, results, strict=True):
            try:
                deal(job, result)
            except Exception:
                log.exception("result_not_understood", stage=self.name, job_id=job.job_id, request_id=job.request_id)
                self.in_hand.remove(job)

    def seconds_left(self, batch: list[JobInHand]) -> float:
        """Tell how long a batch may be sent again: as long as the youngest of its jobs may."""
        return max(job.report_until for job in batch) - time.monotonic()

    async def give_up(self, batch: list[JobInHand], error: Exception) -> None:
        """Leave jobs to the platform, which rescues and settles them."""
        self.drop(batch, str(error))

    async def put_aside(self, item: JobInHand, error: HeldUp) -> None:
        """Report a job again that could not be reported even alone."""
        self.retry(item, error)

    def abandon(self, items: list[JobInHand]) -> None:
        """Let go of jobs: what still runs is rescued when its lease has ended."""
        for job in items:
            self.in_hand.remove(job)

    def drop(self, jobs: list[JobInHand], error: str) -> None:
        """Let go of jobs that can't be reported, and name them in the log."""
        self.abandon(jobs)
        log.error("report_given_up", stage=self.name, job_ids=[job.job_id for job in jobs], error=error)
