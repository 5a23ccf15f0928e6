"""What the use cases need from outside of the database. One implementation each, and fakes in tests."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from services.jobs.rules.backlogs import BacklogState, Count, Note
from services.jobs.rules.changes import Change
from services.jobs.rules.completion import Deduction, Released
from services.jobs.rules.entities import (
    Backlog,
    BillingStatus,
    Charge,
    Due,
    Job,
    Lane,
    ListKey,
    NewJob,
    Payloads,
    QueueStats,
    Release,
    Turns,
    Unsettled,
    Waiting,
)
from services.jobs.rules.holds import Hold, HoldState, Reservation
from services.jobs.rules.job_types import JobType, NewJobType
from services.jobs.rules.leasing import Claim, Claimed, Renewal, Renewed
from services.jobs.rules.schemas.verdict import Verdict
from services.kit.errors import DataCorrupt, DomainError
from services.kit.query.page import ListQuery, Page


class Customers(Protocol):
    """What the jobs service asks of the customers service."""

    async def active(self, customer_ids: Collection[UUID]) -> Mapping[UUID, bool | DomainError]:
        """Answers whether each customer is active; those that do not exist are left out.

        What could not be asked is answered as the error to fail with.
        """
        ...


class HoldWallets(Protocol):
    """What reservations need of the wallets service."""

    async def place_holds(self, wanted: Sequence[Reservation]) -> list[Hold | HoldState | DomainError]:
        """Reserves money.

        Returns:
            For each the hold of its ID, which may be another one than was asked for (of one that is over, its state may
            be all), or why there is none.
        """
        ...


class Wallets(HoldWallets, Protocol):
    """What the jobs service asks of the wallets service."""

    async def release_holds(self, releases: Sequence[Release]) -> list[Released | DomainError]:
        """Frees what is reserved for jobs; again it changes nothing.

        Returns:
            For each what became of it, or why that is not known.
        """
        ...

    async def clock_ahead(self) -> timedelta:
        """Answers how far the ledger's clock, which stamps holds, is ahead of our database's.

        Raises:
            DependencyUnavailable: If the wallets service does not answer.
        """
        ...

    async def read_hold(self, hold_id: UUID) -> Hold | DomainError:
        """Answers one hold as it is now, or why that is not known."""
        ...

    def active_holds(self, since: datetime, until: datetime) -> AsyncIterator[Sequence[Hold]]:
        """Answers the active holds that were placed in a time, the oldest first, page by page.

        Raises:
            DependencyUnavailable: If the wallets service does not answer.
        """
        ...

    async def deduct(self, charges: Sequence[Charge]) -> list[Deduction | DomainError]:
        """Makes charges, each under the key of its job.

        Returns:
            For each charge what became of it, or why that is not known.
        """
        ...


class JobTypes(Protocol):
    """The job types that submissions name."""

    async def resolve(self, wanted: Collection[UUID | str]) -> Mapping[UUID | str, JobType | DomainError]:
        """Answers those that exist, by the IDs and names that were asked for.

        What is stored and not understood is answered as the error to fail with.
        """
        ...

    def forget(self, wanted: Collection[UUID | str]) -> None:
        """Is told of job types that turned out to be gone."""
        ...


class JobTypeCache(Protocol):
    """The job types that submissions have in a cache."""

    def changing(self, *job_types: NewJobType) -> None:
        """Drop job types from the caches of all processes when the open transaction, which changes them, ends."""
        ...


class SchemaChecks(Protocol):
    """Checks inputs with the schemas of their job types, and schemas themselves."""

    def check_small(self, schema: str, text: str) -> Verdict | None:
        """Return the verdict on an input if the check is small work; None if only `check` can do it."""
        ...

    async def check(self, schema: str, text: str) -> Verdict:
        """Return the verdict on an input, however large.

        Args:
            schema: A stored schema.
            text: JSON text that can be stored.

        Raises:
            Overloaded: If too many inputs wait for their check.
        """
        ...

    async def check_schema(self, schema: str) -> None:
        """Check a schema that is to be stored.

        Raises:
            InvalidSchema: If it cannot be used, or checks with it cannot be bounded.
            Overloaded: If too many inputs wait for their check.
        """
        ...


class Queue(Protocol):
    """Takes the IDs of waiting jobs to where runners find them. Never fails and never makes a caller wait."""

    def withheld(self, jobs: Sequence[NewJob], kinds: Mapping[UUID, JobType]) -> set[UUID]:
        """Return which jobs are not to be handed over now: a list is full, a customer has many in it, it is paused.

        Args:
            jobs: That are about to be stored.
            kinds: Their types.
        """
        ...

    def put(self, jobs: Sequence[Waiting], *, first: bool = False) -> None:
        """Hands jobs over that were stored as handed over; `first` for those that have waited before."""
        ...

    def wake(self, *lists: ListKey) -> None:
        """Is told that jobs were stored that are still to be handed over; of lists that are not named, too."""
        ...

    def expect(self, wait: timedelta) -> None:
        """Is told that a job will have to be handed over after this time."""
        ...


class Changes(Protocol):
    """Notifies watchers, in this process and in others, of jobs that have changed. Never fails and never waits."""

    def put(self, job_ids: Collection[UUID]) -> None:
        """Notify the watchers of some jobs."""
        ...


class Watchers(Protocol):
    """The watchers of this process."""

    def notice(self, job_ids: Iterable[UUID]) -> None:
        """Note changed jobs."""
        ...

    def resync(self) -> None:
        """Note that changes may have been missed."""
        ...


class Unserved(Protocol):
    """Is told which jobs runners have no handler for. Never fails and never waits."""

    def claimed(self, claim: Claim, claimed: Claimed) -> None:
        """Is told of a claim and what became of it."""
        ...

    def refused(self, backlogs: Iterable[Backlog]) -> None:
        """Is told of jobs that were handed back because their runner can't run them."""
        ...


class UnservedRepository(Protocol):
    """The backlogs, on SQLAlchemy and in memory."""

    async def note(self, notes: Sequence[Note]) -> None:
        """Adds what was seen; a backlog that jobs were refused of is there from now on."""
        ...

    async def due(self, limit: int) -> list[BacklogState]:
        """Answers backlogs that may be fed, locked; those that another replica is at are left out, and paused ones."""
        ...

    async def fed(self, backlog: Backlog, wait: timedelta) -> None:
        """Counts anew, and has the backlog wait."""
        ...

    async def drop(self, backlog: Backlog) -> None:
        """Leaves the backlog's jobs to the dispatcher again."""
        ...

    async def backlogs(self) -> Mapping[Backlog, str]:
        """Answers all backlogs, and their handlers."""
        ...

    async def counts(self) -> list[Count]:
        """Counts the waiting jobs of backlogs whose handler no runner of the last minute has."""
        ...


class QueueUnavailable(Exception):
    """The queue did not take the IDs, or did not say so in time."""


class QueueLists(Protocol):
    """The lists that runners take IDs from. One that can't be used has no part in the others."""

    async def push(self, jobs: Sequence[Waiting], *, first: bool = False) -> Mapping[ListKey, int]:
        """Add jobs, each to the list of its queue and priority, in this order; `first` for before all others.

        Returns:
            How long the lists are now. One that refused its jobs is left out.

        Raises:
            QueueUnavailable: If it is not known of any list that its jobs were added.
        """
        ...

    async def lengths(self, keys: Sequence[ListKey]) -> Mapping[ListKey, int]:
        """Return how long lists are. One that can't be used is left out.

        Raises:
            QueueUnavailable: If there was no answer.
        """
        ...

    async def names(self) -> list[ListKey]:
        """Return all lists that hold anything, also those that no job waits in.

        Raises:
            QueueUnavailable: If there was no answer.
        """
        ...

    async def read(self, key: ListKey) -> list[UUID]:
        """Return all IDs of a list; what is no ID is left out.

        Raises:
            QueueUnavailable: If there was no answer.
        """
        ...

    async def remove(self, key: ListKey, job_ids: Collection[UUID]) -> None:
        """Remove IDs from a list.

        Raises:
            QueueUnavailable: If it is not known that all were removed.
        """
        ...

    async def take_back(self, key: ListKey, count: int) -> list[UUID]:
        """Remove IDs from the end of a list, where the newest are, and return them.

        Raises:
            QueueUnavailable: If it is not known which were removed. They are found missing, and pushed again.
        """
        ...


JOB_TYPE_ID_CONSTRAINT = "pk_job_types"
JOB_TYPE_NAME_CONSTRAINT = "uq_job_types_name"
JOB_TYPE_IN_USE_CONSTRAINT = "fk_jobs_job_type_id_job_types"


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

    async def apply(self, changes: Sequence[Change]) -> None:
        """Write changes of locked jobs, each of another job, in the order of the classes that they come in."""
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
