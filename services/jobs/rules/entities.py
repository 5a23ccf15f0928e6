"""Jobs, without database and gRPC: their states, and what may happen to them when."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from services.jobs.rules.job_types import Priority, ProcessorType

#: What a job takes in a message at most besides the texts of payloads, labels and error; also one that is claimed.
FIXED_BYTES_MAX = 2048


class JobStatus(StrEnum):
    """Where a job is in its life; the contract says what each means."""

    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class BillingStatus(StrEnum):
    """Where a job's charge is; the contract says what each means."""

    NOT_BILLABLE = "NOT_BILLABLE"
    HELD = "HELD"
    UNHELD = "UNHELD"
    CHARGE_DUE = "CHARGE_DUE"
    CHARGED = "CHARGED"
    RELEASE_DUE = "RELEASE_DUE"
    RELEASED = "RELEASED"
    DECLINED = "DECLINED"
    CHARGE_BLOCKED = "CHARGE_BLOCKED"


@dataclass(frozen=True)
class JobError:
    """Why an attempt failed."""

    type: str
    message: str
    retryable: bool
    attempt: int
    at: datetime


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job about to be stored.

    Attributes:
        input_data: JSON text. None in a stored job that was read without its payloads.
        input_bytes: How long the input is at most when PostgreSQL prints it.
        estimated_cost_cents: The frozen price in the currency's minor unit.
        hold_id: The money that is reserved for it; None for free jobs, and for jobs from before there were holds.
        hold_generation: Counts the holds that were placed for it.
        request_id: The request that submitted it, for logs.
        request_digest: Tells whether a repeated submission has the same parameters.
    """

    id: UUID
    customer_id: UUID
    job_type_id: UUID
    status: JobStatus = JobStatus.PENDING
    billing_status: BillingStatus
    priority: Priority
    queue: str
    input_data: str | None
    input_bytes: int
    estimated_cost_cents: int
    currency: str
    max_attempts: int
    labels: Mapping[str, str] = field(default_factory=dict)
    run_at: datetime | None = None
    expires_at: datetime
    request_id: str = ""
    request_digest: bytes = b""
    hold_id: UUID | None = None
    hold_generation: int = 0


@dataclass(frozen=True, kw_only=True)
class Job(NewJob):
    """A stored job.

    Attributes:
        output_data: JSON text, only when SUCCEEDED; None also if it was read without its payloads.
        dispatched_at: When its ID was handed to Redis; None while it is to be handed over.
        lease_id: The lease it runs under, only when RUNNING.
        completed_lease_id: The lease under which it was completed.
        completion_digest: Tells whether a repeated completion is the same.
        attempt: The runs that failed, and the present one.
        rescue_count: The runs whose runner vanished.
        snooze_count: The runs that asked to be run again later.
        deaths: The ends of runners, and of its own process, that count against it.
        early_losses: The rescues of runs that had just begun.
        retry_count: How often somebody had it run again after it was final.
        version: Counts the changes; the etag.
    """

    output_data: str | None = None
    output_bytes: int = 0
    error: JobError | None = None
    cost_cents: int | None = None
    transaction_id: UUID | None = None
    attempt: int = 0
    rescue_count: int = 0
    snooze_count: int = 0
    deaths: int = 0
    early_losses: int = 0
    retry_count: int = 0
    created_at: datetime
    queued_at: datetime
    dispatched_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    runner_id: UUID | None = None
    lease_id: UUID | None = None
    lease_expires_at: datetime | None = None
    completed_lease_id: UUID | None = None
    completion_digest: bytes | None = None
    version: int = 1

    @property
    def etag(self) -> str:
        """Changes with every change of the job."""
        return str(self.version)

    @property
    def notes_bytes(self) -> int:
        """How long the texts beside the payloads are: labels, and the last error."""
        texts = [text for label in self.labels.items() for text in label]
        if self.error is not None:
            texts += [self.error.type, self.error.message]
        return sum(len(text.encode()) for text in texts)


@dataclass(frozen=True)
class Payloads:
    """The input and the output of a job, as JSON text."""

    input_data: str
    output_data: str | None


@dataclass(frozen=True, kw_only=True)
class ClaimedJob:
    """A job with what it takes to run it.

    Attributes:
        isolated: Whether it may be what ended its runners, and is to run where it can end nothing else.
    """

    job: Job
    processing_logic_id: str
    processor_type: ProcessorType
    timeout: timedelta
    isolated: bool = False


@dataclass(frozen=True)
class Charge:
    """The deduction to make for a job."""

    customer_id: UUID
    currency: str
    amount_cents: int
    hold_id: UUID | None
    job_id: UUID

    @property
    def idempotency_key(self) -> str:
        """The key that makes the deduction happen once."""
        return f"job:{self.job_id}"


@dataclass(frozen=True)
class Release:
    """The hold to release of a job that ended without success."""

    hold_id: UUID
    job_id: UUID


#: What the settler has to do for a job.
Due = Charge | Release


@dataclass(frozen=True)
class Waiting:
    """A PENDING job as the queue needs it."""

    id: UUID
    queue: str
    priority: Priority
    queued_at: datetime

    @classmethod
    def of(cls, job: Job) -> "Waiting":
        """Return a PENDING job as the queue needs it."""
        return cls(job.id, job.queue, job.priority, job.queued_at)

    @property
    def list(self) -> "ListKey":
        """The list it waits in."""
        return ListKey(self.queue, self.priority)


class ListKey(NamedTuple):
    """Names one of the lists that runners take IDs from: there is one for each priority of a queue."""

    queue: str
    priority: Priority


class Backlog(NamedTuple):
    """The waiting jobs of one type in one queue."""

    queue: str
    job_type_id: UUID


class Lane(NamedTuple):
    """The jobs of one customer and job type in a list: who takes turns with others when it is fed."""

    job_type_id: UUID
    customer_id: UUID


@dataclass(frozen=True)
class Turns:
    """What a list is to be fed with.

    Attributes:
        jobs: In the order in which they are to be run.
        lanes: How many lanes had their turn; none of them has a job here if others are at all of its jobs just now.
        following: The lane whose turn is next; None if all after the first have had theirs.
    """

    jobs: Sequence[Waiting]
    lanes: int
    following: Lane | None


@dataclass(frozen=True, kw_only=True)
class QueueStats:
    """Counts of one priority of one queue.

    Attributes:
        paused: Whether the queue is paused.
        oldest_age: How long the oldest waiting job has waited; None if none waits.
        submitted_per_second: Over the last minute; so is completed_per_second.
        unserved: How many of the waiting ones need a handler that no runner has.
        unserved_handlers: These handlers.
    """

    queue: str
    priority: Priority
    waiting: int
    dispatched: int
    running: int
    paused: bool
    oldest_age: timedelta | None
    submitted_per_second: float
    completed_per_second: float
    unserved: int = 0
    unserved_handlers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unsettled:
    """How many jobs are in a billing status, and how many of them should have been tried a minute ago."""

    jobs: int
    overdue: int


FINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})
# While it is one of these, the job's hold is needed or still to be released.
HOLD_IN_USE = frozenset(
    {
        BillingStatus.HELD,
        BillingStatus.CHARGE_DUE,
        BillingStatus.RELEASE_DUE,
        BillingStatus.DECLINED,
        BillingStatus.CHARGE_BLOCKED,
    }
)
# What the settler works on.
SETTLERS = (BillingStatus.CHARGE_DUE, BillingStatus.RELEASE_DUE, BillingStatus.DECLINED)
# A final job with one of these never changes again.
BILLING_IS_OVER = (BillingStatus.NOT_BILLABLE, BillingStatus.CHARGED, BillingStatus.RELEASED)
# The same, or an operator or a credit is needed.
_BILLING_AT_REST = frozenset({*BILLING_IS_OVER, BillingStatus.DECLINED, BillingStatus.CHARGE_BLOCKED})


def is_at_rest(job: Job) -> bool:
    """Whether nothing more happens to a job by itself, or not soon."""
    return job.status in FINAL and job.billing_status in _BILLING_AT_REST


def billing_at_admission(cost_cents: int) -> BillingStatus:
    """The billing status a job begins with."""
    return BillingStatus.HELD if cost_cents > 0 else BillingStatus.NOT_BILLABLE


def is_dispatched(job: NewJob, withheld: Collection[UUID]) -> bool:
    """Return whether a job is stored as dispatched to the queue: if it is PENDING and not withheld."""
    return job.status is JobStatus.PENDING and job.id not in withheld


def charge_due(job: Job) -> Charge | None:
    """The charge to make now, if any."""
    if job.billing_status is not BillingStatus.CHARGE_DUE or job.cost_cents is None:
        return None
    return Charge(job.customer_id, job.currency, job.cost_cents, job.hold_id, job.id)
