"""What the audit trail keeps of jobs and queues that people change. Payloads are none of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID, uuid5

from services.jobs.rules.entities import Job
from services.kit.data.audit import entries as audit

_QUEUES = UUID("6a2f9d54-3c1e-5b07-9e48-d1c0a7b35f26")


@dataclass(frozen=True)
class JobState:
    """How a job is, as far as a hand changes it."""

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
        """Take it from a job."""
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
    """Whether a queue is paused. Its ID follows from its name: the trail knows rows by IDs."""

    id: UUID
    name: str
    paused: bool

    @classmethod
    def of(cls, name: str, *, paused: bool) -> "QueueState":
        """Make the ID."""
        return cls(uuid5(_QUEUES, name), name, paused)


def of_jobs(changes: Iterable[tuple[Job, Job]], transaction_id: str) -> list[audit.NewAuditEntry]:
    """Return the entries of jobs that were changed, each before and after."""
    return [audit.entry("jobs", transaction_id, JobState.of(before), JobState.of(after)) for before, after in changes]


def of_queue(name: str, transaction_id: str, *, was_paused: bool, paused: bool) -> audit.NewAuditEntry:
    """Return the entry of a queue that was paused or resumed."""
    before, after = QueueState.of(name, paused=was_paused), QueueState.of(name, paused=paused)
    return audit.entry("queues", transaction_id, before, after)
