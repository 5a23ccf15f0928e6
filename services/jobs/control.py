"""What operators and clients may do to a job from outside of a run: pure decisions on a locked job."""

from dataclasses import dataclass
from uuid import UUID

from services.jobs.completion import released
from services.jobs.domain import FINAL, BillingStatus, Job, JobStatus
from services.jobs.errors import JobNotCancellable, JobNotRetryable

CANCELLED = "CANCELLED"
EXPIRED = "EXPIRED"
RUNNER_LOST = "RUNNER_LOST"

_RETRYABLE = frozenset({BillingStatus.RELEASED, BillingStatus.NOT_BILLABLE})


@dataclass(frozen=True, kw_only=True)
class Removal:
    """The end of a job that no completion brings.

    Attributes:
        status: CANCELLED or FAILED.
        error_type: Why: CANCELLED, EXPIRED or RUNNER_LOST.
        error_message: The same for people.
    """

    job_id: UUID
    status: JobStatus
    billing_status: BillingStatus
    error_type: str
    error_message: str


def removal(job: Job, status: JobStatus, error_type: str, error_message: str) -> Removal:
    """Ends a job without success."""
    return Removal(
        job_id=job.id,
        status=status,
        billing_status=released(job.billing_status),
        error_type=error_type,
        error_message=error_message,
    )


def cancellation(job: Job, reason: str) -> Removal | None:
    """What taking a job back does to it; None if it was taken back before.

    Raises:
        JobNotCancellable: If it has SUCCEEDED or FAILED.
    """
    if job.status is JobStatus.CANCELLED:
        return None
    if job.status in FINAL:
        raise JobNotCancellable(job.id, job.status.value)
    return removal(job, JobStatus.CANCELLED, CANCELLED, reason or "cancelled by request")


def retried_billing(job: Job) -> BillingStatus | None:
    """The billing status of a job that is to be run again; None if it is not final, and so will be run anyway.

    Raises:
        JobNotRetryable: If it has SUCCEEDED, or its hold is still to be released.
    """
    if job.status not in FINAL:
        return None
    if job.status is JobStatus.SUCCEEDED or job.billing_status not in _RETRYABLE:
        raise JobNotRetryable(job.id, job.status.value, job.billing_status.value)
    return BillingStatus.UNHELD if job.billing_status is BillingStatus.RELEASED else BillingStatus.NOT_BILLABLE
