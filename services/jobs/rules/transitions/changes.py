"""What transitions write to the rows of jobs: written once, and applied by both repositories.

A rule looks at a locked job and returns a change. The repositories write its columns and do nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from services.jobs.rules.entities import BillingStatus, Job, JobError, JobStatus
from services.kit.fast_dataclasses import made

J = TypeVar("J", bound=Job)

NOW = timedelta(0)
"""The time of the transaction, as a change has it."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What a runner reports about a failed run. The server adds attempt and time.

    Attributes:
        retry_after: How long to wait before the next attempt, instead of the job type's backoff.
    """

    type: str
    message: str
    retryable: bool
    retry_after: timedelta | None = None


@dataclass(frozen=True, kw_only=True)
class Change:
    """The new values of some columns of one job. Its fields have the names of the columns.

    A time is a `timedelta` from the time of the transaction, which only the store has. The version always increases.

    Attributes:
        constant: The columns that are the same in all changes of the class.
        kept: The columns that None leaves unchanged.
    """

    constant: ClassVar[Mapping[str, Any]] = {}
    kept: ClassVar[frozenset[str]] = frozenset()

    job_id: UUID


#: The columns of a job that is not RUNNING any more, and of one that is in no list either.
WITHOUT_LEASE: Mapping[str, Any] = {"lease_id": None, "lease_expires_at": None, "callback_expires_at": None}
RUN_IS_OVER: Mapping[str, Any] = {**WITHOUT_LEASE, "dispatched_at": None}


@dataclass(frozen=True, kw_only=True)
class Requeueing(Change):
    """A run that does not count: the job waits again in its old place, as if it had not been claimed."""

    constant = WITHOUT_LEASE
    kept = frozenset({"run_at"})

    status: JobStatus
    attempt: int
    dispatched_at: timedelta | None
    run_at: timedelta | None


def requeued(job: Job, wait: timedelta | None) -> dict[str, Any]:
    """Return the columns of a job that waits again, dispatched, or SCHEDULED if it has to wait for a time."""
    return {
        "job_id": job.id,
        "status": JobStatus.PENDING if wait is None else JobStatus.SCHEDULED,
        "attempt": job.attempt - 1,
        "dispatched_at": NOW if wait is None else None,
        "run_at": wait,
    }


def next_try(billing_status: BillingStatus, settle_after: timedelta = NOW) -> timedelta | None:
    """Return when the settler looks at a job that has just ended; None if it has nothing to do.

    Args:
        billing_status: The job's new billing status.
        settle_after: How long the runner has to make the charge. Only the settler releases holds.
    """
    if billing_status is BillingStatus.CHARGE_DUE:
        return settle_after
    return NOW if billing_status is BillingStatus.RELEASE_DUE else None


def applied(job: J, change: Change, now: datetime | None = None) -> J:
    """Return the job after a change.

    Args:
        job: The job before it.
        change: Columns that the job's class lacks are left out.
        now: The time of the transaction. Without it, times and the error stay as they were.
    """
    values = {**vars(job), "version": job.version + 1}
    for name, value in (*change.constant.items(), *vars(change).items()):
        if name not in values or (value is None and name in change.kept):
            continue
        if type(value) not in _DATED:
            values[name] = value
        elif now is not None:
            values[name] = _dated(job, value, now)
    return made(type(job), values)


_DATED = frozenset({timedelta, Failure})


def _dated(job: Job, value: timedelta | Failure, now: datetime) -> datetime | JobError:
    if isinstance(value, timedelta):
        return now + value
    return JobError(value.type, value.message, value.retryable, job.attempt, now)
