"""Jobs and their states."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from services.jobs.rules.job_types import Priority, ProcessorType, Webhook
from services.jobs.rules.prices.metering import Metering

#: The largest size of a job, or a claimed job, in a message without the texts of payloads, labels and error.
FIXED_BYTES_MAX = 2048


class JobStatus(StrEnum):
    """The stage of a job's life, as the contract defines it."""

    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class BillingStatus(StrEnum):
    """The stage of a job's charge, as the contract defines it."""

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


@dataclass(frozen=True)
class Progress:
    """How far a run is, as its handler says.

    Attributes:
        percent: From 0 to 100.
        sequence: The number of the report, which increases during a run.
    """

    percent: float
    message: str
    at: datetime
    sequence: int


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job about to be stored.

    Attributes:
        input_data: JSON text; None in a stored job that was read without its payloads.
        input_bytes: The largest length of the input when PostgreSQL prints it.
        estimated_cost_cents: The frozen price in the currency's minor unit; of a metered job the maximum.
        metering_unit: What its usage is counted in; None if it is not metered, as the next two.
        unit_price_micro_cents: The frozen price of one unit, in millionths of the currency's minor unit.
        standard_cost_cents: The frozen price without a report of usage.
        hold_id: The hold that reserves its price; None for free jobs, and for jobs older than holds.
        hold_generation: The number of holds that were placed for it before this one.
        request_id: The request that submitted it, for logs.
        request_digest: A digest of the parameters, by which a repeated submission is recognized.
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
    metering_unit: str | None = None
    unit_price_micro_cents: int | None = None
    standard_cost_cents: int | None = None

    @property
    def metering(self) -> Metering | None:
        """The frozen price by usage, if the job is metered."""
        if self.unit_price_micro_cents is None or self.standard_cost_cents is None:
            return None
        unit, maximum = self.metering_unit or "", self.estimated_cost_cents
        return Metering(unit, self.unit_price_micro_cents, maximum, self.standard_cost_cents)


@dataclass(frozen=True, kw_only=True)
class Job(NewJob):
    """A stored job.

    Attributes:
        output_data: JSON text, only when SUCCEEDED; None also if it was read without its payloads.
        dispatched_at: When its ID was dispatched to Redis; None while it is withheld.
        lease_id: The lease it runs under, only when RUNNING.
        callback_expires_at: Until when it waits for the result of its endpoint; None while it does not.
        completed_lease_id: The lease under which it was completed.
        completion_digest: A digest of the completion, by which a repeated one is recognized.
        usage_units: What it has used; None if it has not succeeded, or nothing was reported.
        attempt: The number of runs that failed, and the present one.
        rescue_count: The number of runs whose runner vanished.
        snooze_count: The number of runs that asked to be run again later.
        deaths: The number of deaths, of runners and of its own process, that count against it.
        early_losses: The number of rescues of runs that had just begun.
        retry_count: How often it was retried after it was final.
        version: The number of changes, which is also the etag. Progress is no change of the job.
        progress: How far the present or last run is; only read by `get` and `get_many`.
    """

    output_data: str | None = None
    output_bytes: int = 0
    error: JobError | None = None
    cost_cents: int | None = None
    usage_units: int | None = None
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
    callback_expires_at: datetime | None = None
    completed_lease_id: UUID | None = None
    completion_digest: bytes | None = None
    version: int = 1
    progress: Progress | None = None

    @property
    def etag(self) -> str:
        """The etag, which changes with every change of the job."""
        return str(self.version)

    @property
    def revision(self) -> "Revision":
        """The state of the job and its progress, which only grows."""
        return Revision(self.version, self.progress.sequence if self.progress else 0)

    @property
    def notes_bytes(self) -> int:
        """The length of the texts besides the payloads: labels, and the last error."""
        texts = [text for label in self.labels.items() for text in label]
        if self.error is not None:
            texts += [self.error.type, self.error.message]
        return sum(len(text.encode()) for text in texts)


class Revision(NamedTuple):
    """A state that a watcher may see: a later one is greater.

    Attributes:
        sequence: The number of the last progress of the present run; 0 before the first.
    """

    version: int
    sequence: int


@dataclass(frozen=True)
class Payloads:
    """The input and the output of a job, as JSON text."""

    input_data: str
    output_data: str | None


@dataclass(frozen=True, kw_only=True)
class ClaimedJob:
    """A job with all that a runner needs to run it.

    Attributes:
        processor_type_named: Whether the job type names its processor type.
        external_api: The endpoint that does the work, as JSON text, or None.
        webhook: The endpoint to post it to, if it is WEBHOOK.
        isolated: Whether it may be the cause of its runners' deaths, and must run where it can end nothing else.
        checkpoint: What an earlier run has left for this one, as JSON text; None if there is nothing.
    """

    job: Job
    processing_logic_id: str
    processor_type: ProcessorType
    processor_type_named: bool
    timeout: timedelta
    external_api: str | None = None
    webhook: Webhook | None = None
    isolated: bool = False
    checkpoint: str | None = None


@dataclass(frozen=True)
class Charge:
    """A deduction that is due for a job."""

    customer_id: UUID
    currency: str
    amount_cents: int
    hold_id: UUID | None
    job_id: UUID

    @property
    def idempotency_key(self) -> str:
        """The key under which the deduction happens only once."""
        return f"job:{self.job_id}"


class Billing(NamedTuple):
    """What settling a job needs to know of it.

    Attributes:
        status: Its billing status.
        cost_cents: What it is charged; None before it has succeeded.
    """

    status: BillingStatus
    cost_cents: int | None


@dataclass(frozen=True)
class Release:
    """The hold of a job that is not charged, which has to be released."""

    hold_id: UUID
    job_id: UUID


#: A job's work for the settler.
Due = Charge | Release


@dataclass(frozen=True)
class Waiting:
    """The part of a PENDING job that the queue needs."""

    id: UUID
    queue: str
    priority: Priority
    queued_at: datetime

    @classmethod
    def of(cls, job: Job) -> "Waiting":
        """Return the part of a PENDING job that the queue needs."""
        return cls(job.id, job.queue, job.priority, job.queued_at)

    @property
    def list(self) -> "ListKey":
        """The list that the job belongs to."""
        return ListKey(self.queue, self.priority)


class ListKey(NamedTuple):
    """The name of one of the lists that runners take IDs from: each priority of a queue has its own."""

    queue: str
    priority: Priority


class Backlog(NamedTuple):
    """The waiting jobs of one type in one queue."""

    queue: str
    job_type_id: UUID


class Lane(NamedTuple):
    """The jobs of one customer and job type in a list. Lanes take turns when the list is fed."""

    job_type_id: UUID
    customer_id: UUID


@dataclass(frozen=True)
class Turns:
    """Jobs that a list is fed with.

    Attributes:
        jobs: The jobs, in the order in which they are run.
        lanes: The number of lanes that had their turn. A lane whose jobs are all locked by others has no job here.
        following: The lane whose turn is next; None if all after the first have had theirs.
    """

    jobs: Sequence[Waiting]
    lanes: int
    following: Lane | None


@dataclass(frozen=True, kw_only=True)
class QueueStats:
    """Counts of one priority of one queue.

    Attributes:
        scheduled: The number of SCHEDULED jobs, which wait for their time or for their next attempt.
        paused: Whether the queue is paused.
        oldest_age: How long the oldest waiting job has waited; None if none waits.
        submitted_per_second: Over the last minute, like completed_per_second.
        unserved: The number of waiting jobs that need a handler that no runner has.
        unserved_handlers: Those handlers.
        runners: The number of active runners that take jobs from the queue, of any priority.
    """

    queue: str
    priority: Priority
    waiting: int
    dispatched: int
    running: int
    scheduled: int
    paused: bool
    oldest_age: timedelta | None
    submitted_per_second: float
    completed_per_second: float
    unserved: int = 0
    unserved_handlers: tuple[str, ...] = ()
    runners: int = 0


@dataclass(frozen=True)
class Unsettled:
    """The number of jobs in a billing status, and of those that were due more than a minute ago."""

    jobs: int
    overdue: int


FINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})
# With one of these, the job's hold is still needed, or has to be released.
HOLD_IN_USE = frozenset(
    {
        BillingStatus.HELD,
        BillingStatus.CHARGE_DUE,
        BillingStatus.RELEASE_DUE,
        BillingStatus.DECLINED,
        BillingStatus.CHARGE_BLOCKED,
    }
)
# With one of these, a job is work for the settler.
SETTLERS = (BillingStatus.CHARGE_DUE, BillingStatus.RELEASE_DUE, BillingStatus.DECLINED)
# With one of these, the money of a final job never changes again.
BILLING_IS_OVER = (BillingStatus.NOT_BILLABLE, BillingStatus.CHARGED, BillingStatus.RELEASED)
# With one of these, it does not change without an operator or a credit.
_BILLING_AT_REST = frozenset({*BILLING_IS_OVER, BillingStatus.DECLINED, BillingStatus.CHARGE_BLOCKED})


def is_at_rest(job: Job) -> bool:
    """Return whether a job is final, and nothing happens to its money by itself, or not soon."""
    return job.status in FINAL and job.billing_status in _BILLING_AT_REST


def billing_at_admission(cost_cents: int) -> BillingStatus:
    """Return the billing status that a job begins with."""
    return BillingStatus.HELD if cost_cents > 0 else BillingStatus.NOT_BILLABLE


def is_dispatched(job: NewJob, withheld: Collection[UUID]) -> bool:
    """Return whether a job is stored as dispatched to the queue: if it is PENDING and not withheld."""
    return job.status is JobStatus.PENDING and job.id not in withheld


def charge_due(job: Job) -> Charge | None:
    """Return the charge that is due now, if any."""
    if job.billing_status is not BillingStatus.CHARGE_DUE or job.cost_cents is None:
        return None
    return Charge(job.customer_id, job.currency, job.cost_cents, job.hold_id, job.id)
