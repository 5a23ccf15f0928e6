"""What the use cases ask of stored jobs and job types: on SQLAlchemy and in memory, one contract suite for both."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from services.jobs.completion import Completion, Ending, Settlement
from services.jobs.domain import BillingStatus, ClaimedJob, Job, JobStatus, NewJob, QueueStats
from services.jobs.job_types import JobType, NewJobType, Priority, ProcessorType
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
    """

    job_ids: Sequence[UUID]
    runner_id: UUID
    lease_id: UUID
    lease: timedelta
    bytes_max: int


@dataclass(frozen=True)
class Claimed:
    """What became of a claim: the claimed jobs in the order of the wish, and those that did not fit.

    Attributes:
        corrupt: Jobs left PENDING because their job type's row is not understood.
    """

    jobs: tuple[ClaimedJob, ...]
    deferred: tuple[UUID, ...]
    corrupt: tuple[DataCorrupt, ...] = ()


@dataclass(frozen=True)
class Waiting:
    """A PENDING job as the queue needs it."""

    id: UUID
    queue: str
    priority: Priority
    queued_at: datetime


class JobTypeRepository(Protocol):
    """Stored job types."""

    async def get(self, job_type_id: UUID) -> JobType | None:
        """Answers the job type, or None."""
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

    async def get_many(self, job_ids: Iterable[UUID]) -> dict[UUID, Job]:
        """Answers those that exist without their payloads, by ID."""
        ...

    async def list_page(self, query: ListQuery) -> Page[Job]:
        """Answers a page of jobs without their payloads."""
        ...

    async def payloads(self, job_ids: Collection[UUID]) -> Mapping[UUID, Payloads]:
        """Answers the payloads of jobs."""
        ...

    async def create_many(self, jobs: Sequence[NewJob]) -> dict[UUID, Job]:
        """Stores jobs as handed to the queue and answers them without payloads; those whose ID exists are left out.

        No two have the same ID.

        Raises:
            StillReferenced: If a job type was deleted meanwhile.
        """
        ...

    async def claim(self, claim: Claim) -> Claimed:
        """Makes the PENDING ones RUNNING under the lease; those that run under it already are answered again."""
        ...

    async def lock_many(self, job_ids: Collection[UUID]) -> dict[UUID, Job]:
        """Answers those that exist without their payloads, locked until the transaction ends."""
        ...

    async def complete_many(self, endings: Sequence[tuple[Completion, Ending]]) -> None:
        """Stores how runs ended. Each job is locked, runs under the completion's lease, and is named once."""
        ...

    async def settle_many(self, settlements: Sequence[tuple[Settlement, BillingStatus]]) -> None:
        """Stores new billing statuses. Each job is locked and named once."""
        ...

    async def stats(self, queues: Collection[str]) -> list[QueueStats]:
        """Counts what waits and runs, ordered by queue and priority; of all queues if none is named."""
        ...

    async def waiting_after(self, last: Waiting | None, limit: int) -> list[Waiting]:
        """Answers PENDING jobs that were handed to the queue, by queue, priority and age, those after the given one."""
        ...

    async def withhold(self, job_ids: Collection[UUID]) -> None:
        """Marks PENDING jobs as still to be handed to the queue."""
        ...

    async def take_undispatched(self, limit: int) -> list[Waiting]:
        """Marks PENDING jobs that were withheld as handed over and answers them, highest priority first."""
        ...
