"""What operators and clients may do to a job outside of a run: pure decisions on a locked job."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from services.jobs.rules.entities import FINAL, BillingStatus, Job, JobStatus
from services.jobs.rules.errors import JobNotCancellable, JobNotRetryable
from services.jobs.rules.holds import Reservation, Reserved
from services.jobs.rules.transitions.changes import NOW, RUN_IS_OVER, Change, Failure, next_try
from services.jobs.rules.transitions.completion import released
from services.kit.errors import ConcurrentUpdate, DomainError, InvalidField

CANCELLED = "CANCELLED"
EXPIRED = "EXPIRED"
RUNNER_LOST = "RUNNER_LOST"

_RETRYABLE = frozenset({JobStatus.FAILED, JobStatus.CANCELLED})
_MAY_BE_BILLED_AGAIN = frozenset({BillingStatus.RELEASED, BillingStatus.NOT_BILLABLE})


_REMOVED = {**RUN_IS_OVER, "completed_at": NOW}
_LIKE_NEW = {
    "status": JobStatus.PENDING,
    "settle_attempts": 0,
    "attempt": 0,
    "rescue_count": 0,
    "deaths": 0,
    "early_losses": 0,
    "snooze_count": 0,
    "run_at": None,
    "queued_at": NOW,
    "dispatched_at": None,
    "started_at": None,
    "completed_at": None,
    "completed_lease_id": None,
    "completion_digest": None,
}


@dataclass(frozen=True, kw_only=True)
class Removal(Change):
    """The end of a job without success that no completion brings: CANCELLED or FAILED.

    Attributes:
        error: Why, of the type CANCELLED, EXPIRED or RUNNER_LOST.
        next_try_at: When the settler releases the hold, if it has to be released.
    """

    constant = _REMOVED

    status: JobStatus
    billing_status: BillingStatus
    error: Failure
    next_try_at: timedelta | None


def removal(job: Job, status: JobStatus, error_type: str, error_message: str) -> Removal:
    """Return the end of a job without success."""
    billing_status = released(job.billing_status)
    return Removal(
        job_id=job.id,
        status=status,
        billing_status=billing_status,
        error=Failure(type=error_type, message=error_message, retryable=False),
        next_try_at=next_try(billing_status),
    )


def cancellation(job: Job, reason: str) -> Removal | None:
    """Return the cancellation of a job; None if it is cancelled already.

    Raises:
        JobNotCancellable: If it has SUCCEEDED or FAILED.
    """
    if job.status is JobStatus.CANCELLED:
        return None
    if job.status in FINAL:
        raise JobNotCancellable(job.id, job.status.value)
    return removal(job, JobStatus.CANCELLED, CANCELLED, reason or "cancelled by request")


@dataclass(frozen=True, kw_only=True)
class Retry(Change):
    """A final job that is run again, with all its attempts, and as long as a new job of its type may wait.

    Attributes:
        hold_id: The hold that pays for it, if it is not free; so is `hold_generation`.
    """

    constant = _LIKE_NEW

    billing_status: BillingStatus
    hold_id: UUID | None
    hold_generation: int
    retry_count: int

    @classmethod
    def of(cls, job: Job, hold: Reserved | None = None) -> "Retry":
        """Return the retry of a job, with the hold that was placed for it; without one if it is free."""
        return cls(
            job_id=job.id,
            billing_status=BillingStatus.NOT_BILLABLE if hold is None else BillingStatus.HELD,
            hold_id=job.hold_id if hold is None else hold.hold_id,
            hold_generation=job.hold_generation if hold is None else hold.generation,
            retry_count=job.retry_count + 1,
        )


def runs_again(job: Job, retry_count: int | None = None) -> bool:
    """Return whether a retry asks to run a job once more, instead of returning it unchanged."""
    return job.status in _RETRYABLE and retry_count in (None, job.retry_count)


def hold_for_retry(job: Job, retry_count: int | None = None) -> Reservation | None:
    """Return the hold that a job needs to be run again, at the frozen price; None if it needs none or is not run."""
    if not runs_again(job, retry_count) or job.billing_status is not BillingStatus.RELEASED:
        return None
    return Reservation(
        job_id=job.id,
        customer_id=job.customer_id,
        currency=job.currency,
        amount_cents=job.estimated_cost_cents,
        # The price is frozen: a hold left by a submission at another price would not cover it, or reserve too much.
        amount_cents_min=job.estimated_cost_cents,
        amount_cents_max=job.estimated_cost_cents,
        generation=job.hold_generation + 1,
        is_maximum=job.metering is not None,
    )


def retried(job: Job, reserved: Mapping[UUID, Reserved | DomainError], retry_count: int | None = None) -> Retry | None:
    """Return the retry of a job; None if it is not final, and so will be run anyway, or was retried already.

    Args:
        job: The job.
        reserved: By job the money reserved for it, or the reason why none is.
        retry_count: How often the job had been retried when the first call was made, if that is known.

    Raises:
        InvalidField: If the job has been retried less often.
        JobNotRetryable: If it has SUCCEEDED, or its hold has not been released yet.
        ConcurrentUpdate: If it reached its present state after the holds were placed.
        DomainError: The reason why no hold exists.
    """
    if retry_count is not None and retry_count > job.retry_count:
        raise InvalidField.of("retry_count", f"must be at most the job's retry_count, which is {job.retry_count}")
    if job.status not in FINAL or (retry_count is not None and retry_count < job.retry_count):
        return None
    if job.status is JobStatus.SUCCEEDED or job.billing_status not in _MAY_BE_BILLED_AGAIN:
        raise JobNotRetryable(job.id, job.status.value, job.billing_status.value)
    if job.billing_status is BillingStatus.NOT_BILLABLE:
        return Retry.of(job)
    hold = reserved.get(job.id)
    if isinstance(hold, DomainError):
        raise hold
    # A concurrent call had it run, under this hold or a later one, and it has ended.
    if hold is None or hold.generation <= job.hold_generation:
        raise ConcurrentUpdate
    return Retry.of(job, hold)
