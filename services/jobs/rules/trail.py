"""Entries of the audit trail for jobs and queues that people change. They contain no payloads."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID, uuid5

from services.jobs.rules.entities import Job
from services.kit.data.audit import entries as audit

_QUEUES = UUID("6a2f9d54-3c1e-5b07-9e48-d1c0a7b35f26")


@dataclass(frozen=True)
class JobState:
    """The fields of a job that people can change."""

    id: UUID
    status: str
    billing_status: str
    hold_id: UUID | None
    hold_generation: int
    transaction_id: UUID | None
    error_type: str | None
    error_message: str | None

    @classmethod
    def of(cls, job: Job) -> "JobState":
        """Return the state of a job."""
        error = job.error
        return cls(
            id=job.id,
            status=job.status.value,
            billing_status=job.billing_status.value,
            hold_id=job.hold_id,
            hold_generation=job.hold_generation,
            transaction_id=job.transaction_id,
            error_type=None if error is None else error.type,
            error_message=None if error is None else error.message,
        )


@dataclass(frozen=True)
class QueueState:
    """Whether a queue is paused. The trail identifies rows by IDs, so the queue's ID is derived from its name."""

    id: UUID
    name: str
    paused: bool

    @classmethod
    def of(cls, name: str, *, paused: bool) -> "QueueState":
        """Return the state of a queue."""
        return cls(uuid5(_QUEUES, name), name, paused)


def of_jobs(changes: Iterable[tuple[Job, Job]], transaction_id: str) -> list[audit.NewAuditEntry]:
    """Return the entries of jobs that were changed, each before and after."""
    return [audit.entry("jobs", transaction_id, JobState.of(before), JobState.of(after)) for before, after in changes]


def of_queue(name: str, transaction_id: str, *, was_paused: bool, paused: bool) -> audit.NewAuditEntry:
    """Return the entry of a queue that was paused or resumed."""
    before, after = QueueState.of(name, paused=was_paused), QueueState.of(name, paused=paused)
    return audit.entry("queues", transaction_id, before, after)
