"""What the use cases ask of stored jobs and job types: on SQLAlchemy and in memory, one contract suite for both."""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

from services.jobs.rules.completion import Completion, Ending, Settlement
from services.jobs.rules.control import Removal, Retry
from services.jobs.rules.entities import (
    Backlog,
    BillingStatus,
    ClaimedJob,
    Due,
    Job,
    JobStatus,
    ListKey,
    NewJob,
    QueueStats,
    Release,
    Waiting,
)
from services.jobs.rules.job_types import JobType, NewJobType, Priority, ProcessorType
from services.jobs.rules.rescue import Rescue
from services.kit.errors import DataCorrupt
from services.kit.query.fields import (
    BooleanField,
    EnumField,
    IntegerField,
    StringField,
    StringMapField,
    TimestampField,
    UuidField,
)
from services.kit.query.page import ListQuery, Page
from services.kit.query.resource import Resource

ID = UuidField("id", sortable=True)
CREATED_AT = TimestampField("created_at", sortable=True)

JOB_TYPE_NAME = StringField("name", sortable=True)
JOB_TYPES = Resource(
    "job_types",
    (
        ID,
        JOB_TYPE_NAME,
        StringField("processing_logic_id"),
        EnumField("processor_type", ProcessorType),
        IntegerField("standard_cost_cents", sortable=True),
        StringField("currency"),
        BooleanField("enabled"),
        StringField("queue"),
        CREATED_AT,
        TimestampField("updated_at", sortable=True),
    ),
    default_order=(JOB_TYPE_NAME.ascending(),),
)
JOB_TYPE_ID_CONSTRAINT = "pk_job_types"
JOB_TYPE_NAME_CONSTRAINT = "uq_job_types_name"
JOB_TYPE_IN_USE_CONSTRAINT = "fk_jobs_job_type_id_job_types"

STATUS = EnumField("status", JobStatus)
JOBS = Resource(
    "jobs",
    (
        ID,
        UuidField("customer_id"),
        UuidField("job_type_id"),
        STATUS,
        EnumField("billing_status", BillingStatus),
        EnumField("priority", Priority, sortable=True),
        StringField("queue"),
        StringMapField("labels"),
        CREATED_AT,
        TimestampField("run_at"),
        TimestampField("completed_at"),
    ),
    default_order=(CREATED_AT.descending(),),
)


@dataclass(frozen=True)
class Payloads:
    """The input and the output of a job, as JSON text."""

    input_data: str
    output_data: str | None


@dataclass(frozen=True)
class Claim:
    """A runner's wish for jobs.

    Attributes:
        bytes_max: How many bytes of input and labels may be answered; the first job is answered whatever its size.
        handlers: The handlers that the runner has; none means that it does not say, and gets any job.
        queues: The queues that it takes jobs from; none means that it does not say.
    """

    job_ids: Sequence[UUID]
    runner_id: UUID
    lease_id: UUID
    lease: timedelta
    bytes_max: int
    handlers: Set[str] = frozenset()
    queues: Set[str] = frozenset()

    def serves(self, handler: str) -> bool:
        """Whether jobs of this handler may be given to the runner."""
        return not self.handlers or handler in self.handlers

    def has(self, handler: str, queue: str) -> bool:
        """Whether the runner has said that it runs jobs of this handler from this queue."""
        return handler in self.handlers and (not self.queues or queue in self.queues)


@dataclass(frozen=True)
class Claimed:
    """What became of a claim: the claimed jobs in the order of the wish, and those that did not fit.

    Attributes:
        corrupt: Why jobs were left as they are: their own row is not understood, or that of their job type.
        unserved: The backlogs of jobs left PENDING because the runner has no handler for them, one for each job.
    """

    jobs: tuple[ClaimedJob, ...]
    deferred: tuple[UUID, ...]
    corrupt: tuple[DataCorrupt, ...] = ()
    unserved: tuple[Backlog, ...] = ()


@dataclass(frozen=True)
class Renewal:
    """A runner's wish to keep its jobs for longer."""

    lease_ids: Sequence[UUID]
    job_ids: Sequence[UUID]
    lease: timedelta


@dataclass(frozen=True)
class Renewed:
    """What became of a renewal: the jobs that the runner keeps, and until when (None if it keeps none)."""

    job_ids: frozenset[UUID]
    lease_expires_at: datetime | None


@dataclass(frozen=True)
class Unsettled:
    """How many jobs are in a billing status, and how many of them should have been tried a minute ago."""

    jobs: int
    overdue: int


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


class JobTypeRepository(Protocol):
    """Stored job types."""

    async def get(self, job_type_id: UUID) -> JobType | None:
        """Answers the job type, or None."""
        ...

    async def get_locked(self, job_type_id: UUID) -> JobType | None:
        """Return the job type, which nobody else changes until the transaction ends; None if there is none."""
        ...

    async def get_by_name(self, name: str) -> JobType | None:
        """Answers the job type, or None."""
        ...

    async def resolve(
        self, ids: Collection[UUID], names: Collection[str]
    ) -> Mapping[UUID | str, JobType | DataCorrupt]:
        """Answers those that exist under their IDs and names; a row not understood does not spoil the others."""
        ...

    async def list_page(self, query: ListQuery) -> Page[JobType]:
        """Answers a page of job types."""
        ...

    async def create(self, job_type: NewJobType) -> JobType:
        """Stores a job type.

        Raises:
            AlreadyExists: With `JOB_TYPE_ID_CONSTRAINT` or `JOB_TYPE_NAME_CONSTRAINT`.
        """
        ...

    async def update(self, job_type: JobType) -> JobType:
        """Stores a changed job type and answers it with its new version.

        Raises:
            AlreadyExists: With `JOB_TYPE_NAME_CONSTRAINT`.
            Conflict: If the stored version is not the job type's.
        """
        ...

    async def delete(self, job_type_id: UUID) -> bool:
        """Removes a job type; False if there was none.

        Raises:
            StillReferenced: With `JOB_TYPE_IN_USE_CONSTRAINT`.
        """
        ...


class JobRepository(Protocol):
    """Stored jobs."""

    async def get(self, job_id: UUID) -> Job | None:
        """Answers the job with its payloads, or None."""
        ...

    async def get_many(self, job_ids: Iterable[UUID]) -> Mapping[UUID, Job | DataCorrupt]:
        """Answers those that exist without their payloads, by ID; one not understood does not spoil the others."""
        ...

    async def list_page(self, query: ListQuery) -> Page[Job]:
        """Answers a page of jobs without their payloads."""
        ...

    async def payloads(self, job_ids: Collection[UUID]) -> Mapping[UUID, Payloads]:
        """Answers the payloads of jobs."""
        ...

    async def create_many(
        self, jobs: Sequence[NewJob], withheld: Collection[UUID] = (), *, wait: bool = True
    ) -> dict[UUID, Job]:
        """Store jobs and return them without payloads; those whose ID exists, or was charged and deleted, are left out.

        PENDING ones are stored as handed to the queue, but for those that are withheld. No two have the same ID.

        Args:
            jobs: What is to be stored.
            withheld: The jobs that are not to be handed over now.
            wait: Whether locks are waited for; else jobs whose type is locked are left out.

        Raises:
            RowLocked: If somebody is about to store a job under the same ID.
            StillReferenced: If a job type was deleted meanwhile.
        """
        ...

    async def claim(self, claim: Claim, *, wait: bool = True) -> Claimed:
        """Makes the PENDING ones RUNNING under the lease; those that run under it already are answered again.

        Those that others have locked are waited for, or left where they are.

        Those of paused queues and types, and those that the runner does not serve, are marked as still to be handed to
        the queue.
        """
        ...

    async def lock_many(self, job_ids: Collection[UUID], *, wait: bool = True) -> Mapping[UUID, Job | DataCorrupt]:
        """Answers those that exist without their payloads, locked until the transaction ends.

        Those that others have locked are waited for, or left out.

        Raises:
            RowLocked: If one was waited for too long.
        """
        ...

    async def audit(self, changes: Sequence[tuple[Job, Job]]) -> None:
        """Write to the audit trail what a call has changed by hand, each job before and after; all at once."""
        ...

    async def lock_billing(
        self, job_ids: Collection[UUID], *, wait: bool = True
    ) -> Mapping[UUID, BillingStatus | DataCorrupt]:
        """Answers no more than the billing statuses of those that exist, and locks them in the same way."""
        ...

    async def renew(self, renewal: Renewal) -> Renewed:
        """Has the leases of RUNNING jobs end later, except for those that others have locked."""
        ...

    async def complete_many(self, endings: Sequence[tuple[Completion, Ending]], settle_after: timedelta) -> None:
        """Stores how runs ended. Each job is locked, runs under the completion's lease, and is named once.

        A charge that is due is the settler's when the time has passed; a release is it at once.
        """
        ...

    async def return_many(self, returns: Sequence[tuple[UUID, UUID, bytes, timedelta | None]]) -> list[Waiting]:
        """Makes RUNNING jobs wait again, as if not claimed: PENDING and handed to the queue, or SCHEDULED for a while.

        Args:
            returns: ID, lease, digest and wait of jobs that are locked and run under the lease, each named once.

        Returns:
            Those that are PENDING.
        """
        ...

    async def settle_many(
        self, settlements: Sequence[tuple[Settlement, BillingStatus]], settle_after: timedelta
    ) -> None:
        """Stores new billing statuses. Each job is locked and named once. What was declined is tried again later."""
        ...

    async def remove_many(self, removals: Sequence[Removal]) -> None:
        """Ends jobs without success. Each is locked, not final, and named once."""
        ...

    async def retry_many(self, retries: Sequence[Retry]) -> None:
        """Makes final jobs PENDING again, with all their attempts, still to be handed to the queue.

        Each is locked and named once.
        """
        ...

    async def versions(self, job_ids: Collection[UUID]) -> Mapping[UUID, int]:
        """Answers the versions of those that exist."""
        ...

    async def stats(self, queues: Collection[str]) -> list[QueueStats]:
        """Counts what waits and runs, ordered by queue and priority; of all queues if none is named."""
        ...

    async def withhold(self, job_ids: Collection[UUID]) -> None:
        """Marks PENDING jobs as still to be handed to the queue."""
        ...

    async def withheld_lists(self) -> list[ListKey]:
        """Answers the lists that PENDING jobs are still to be handed to, without those of paused queues."""
        ...

    async def take_withheld(
        self,
        wanted: ListKey,
        limit: int,
        *,
        first: Lane | None = None,
        excluded: Collection[UUID] = (),
        only: UUID | None = None,
    ) -> Turns:
        """Marks PENDING jobs of one list as handed over: up to a limit, in turns.

        Args:
            wanted: The list.
            limit: How many jobs at most, and how many lanes.
            first: The lane to begin with; None for the first of all. Lanes before it have no turn.
            excluded: The job types that are not to be handed over now.
            only: The only job type that is to be handed over; a `first` lane is one of it.
        """
        ...

    async def handed_over_lists(self) -> list[ListKey]:
        """Answers the lists that PENDING jobs were handed over to."""
        ...

    async def try_turn(self, wanted: ListKey) -> bool:
        """Has this transaction be the only one that compares a list until it ends; False if another one is it."""
        ...

    async def handed_over(self, wanted: ListKey, before: timedelta, limit: int) -> list[UUID]:
        """Answers PENDING jobs that were handed to a list longer ago than that, the oldest first."""
        ...

    async def still_handed_over(self, job_ids: Collection[UUID]) -> set[UUID]:
        """Answers which of the jobs are PENDING and handed over."""
        ...

    async def release_scheduled(self, limit: int) -> list[UUID]:
        """Makes SCHEDULED jobs PENDING whose time has come, still to be handed to the queue; answers which."""
        ...

    async def next_scheduled(self) -> timedelta | None:
        """Answers how long it is until the next SCHEDULED job is due; None if there is none."""
        ...

    async def lock_lost(self, limit: int, without: Collection[UUID] = ()) -> Sequence[Job | DataCorrupt]:
        """Answers RUNNING jobs whose lease has ended, locked; those that somebody else is at are left out."""
        ...

    async def begun(self, runner_ids: Collection[UUID], short: timedelta) -> Mapping[UUID, int]:
        """Counts the jobs of runners that were just begun: those that still seem to run, and those noted as lost."""
        ...

    async def note_lost(self, losses: Mapping[UUID, int]) -> None:
        """Notes for an hour how many jobs that were just begun runners have lost."""
        ...

    async def rescue_many(self, rescues: Sequence[Rescue]) -> list[Waiting]:
        """Has locked RUNNING jobs wait again, and counts a rescue; answers those that are handed to the queue at once.

        The others are SCHEDULED.
        """
        ...

    async def lock_expired(self, limit: int, without: Collection[UUID] = ()) -> Sequence[Job | DataCorrupt]:
        """Answers jobs that nobody has started in their time, locked; those that somebody else is at are left out."""
        ...

    async def take_unsettled(self, limit: int, settle_after: timedelta, longest: timedelta) -> list[Due]:
        """Answers charges and releases that are due for the settler, the oldest first.

        Each is put off by a wait that doubles, up to the longest, so that nobody else takes it meanwhile.
        """
        ...

    async def count_unsettled(self) -> Mapping[BillingStatus, Unsettled]:
        """Counts charges and releases that are due, declined or blocked, as far as there are any."""
        ...

    async def lock_finished(self, age: timedelta, limit: int, without: Collection[UUID] = ()) -> list[UUID]:
        """Answers jobs that have been final and settled for longer than that, locked, in the same way."""
        ...

    async def delete_many(self, job_ids: Collection[UUID]) -> int:
        """Deletes locked jobs, and answers how many. Of a charged one a receipt is kept."""
        ...

    async def left_alone(self, limit: int) -> list[DataCorrupt]:
        """Answers what chores would be at if all values of the jobs were known, up to a limit of each kind of work."""
        ...


class PauseRepository(Protocol):
    """What is paused."""

    async def set_queue(self, name: str, *, paused: bool) -> None:
        """Pause or resume a queue, and write to the audit trail who did it; if it was so before, nothing is written."""
        ...

    async def paused_queues(self) -> set[str]:
        """Answers the names of the paused queues."""
        ...

    async def paused_types(self) -> set[UUID]:
        """Answers the IDs of the paused job types."""
        ...

    async def unserved(self) -> set[Backlog]:
        """Answers the backlogs that are fed apart, because runners have refused their jobs."""
        ...


class AuditProgress(Protocol):
    """How far the hold auditor has come."""

    async def window(self, age: timedelta) -> tuple[datetime, datetime]:
        """Answers until when holds have been looked at, and when those were placed that are of this age now."""
        ...

    async def move(self, done_until: datetime) -> None:
        """Notes until when holds have been looked at; never back."""
        ...

    async def keep(self, unreleased: Sequence[Release], wait: timedelta) -> None:
        """Notes holds that could not be released, to be tried again after a wait."""
        ...

    async def take(self, limit: int, wait: timedelta, longest: timedelta) -> list[Release]:
        """Answers those whose next try has come. Each is put off by a wait that doubles, up to the longest."""
        ...

    async def forget(self, hold_ids: Collection[UUID]) -> None:
        """Removes those of which nothing is to be done any more."""
        ...

    async def count(self) -> int:
        """Answers how many are left."""
        ...
