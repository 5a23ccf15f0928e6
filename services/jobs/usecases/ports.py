"""The ports of the jobs service: what its use cases and background work need from outside."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from services.jobs.rules.backlogs import BacklogState, Count, Note
from services.jobs.rules.entities import (
    Backlog,
    Billing,
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
    Revision,
    Turns,
    Unsettled,
    Waiting,
)
from services.jobs.rules.holds import Hold, HoldState, Reservation
from services.jobs.rules.job_types import JobType, NewJobType
from services.jobs.rules.prices.quote import Funds
from services.jobs.rules.runners import RUNNERS_MAX, Announcement, Gone, Runner
from services.jobs.rules.schemas.verdict import Verdict
from services.jobs.rules.transitions.changes import Change
from services.jobs.rules.transitions.completion import Deduction, Released
from services.jobs.rules.transitions.leasing import Claim, Claimed, Renewal, Renewed
from services.jobs.rules.transitions.progress import Report
from services.kit.auth.tenants import Tenants
from services.kit.errors import DataCorrupt, DomainError
from services.kit.query.page import ListQuery, Page
from services.kit.query.specification import ALWAYS, Specification
from services.kit.rates import NO_EXCEPTIONS, CustomerLimits


@dataclass(frozen=True)
class KnownCustomer:
    """What the jobs service knows of a customer.

    Attributes:
        active: Whether the customer may submit jobs.
        limits: The limits that differ from the settings.
    """

    active: bool
    limits: CustomerLimits = NO_EXCEPTIONS


class CustomerReader(Protocol):
    """The customers service."""

    async def read(self, customer_ids: Collection[UUID]) -> Mapping[UUID, KnownCustomer | DomainError]:
        """Return customers, without those that do not exist; for one that is unknown now, the error to fail with."""


class LimitedCustomers(Protocol):
    """The limits of customers."""

    async def limits(self, customer_ids: Collection[UUID]) -> Mapping[UUID, CustomerLimits]:
        """Return the limits that differ from the settings, without customers that are unknown now."""


class Customers(Protocol):
    """The active customers."""

    async def active(self, customer_ids: Collection[UUID]) -> Mapping[UUID, bool | DomainError]:
        """Return whether each customer is active, without customers that do not exist.

        For a customer whose state is unknown, the error to fail with is returned instead.
        """


class HoldWallets(Protocol):
    """The part of the wallets service that reservations need."""

    async def place_holds(self, wanted: Sequence[Reservation]) -> list[Hold | HoldState | DomainError]:
        """Reserve money.

        Returns:
            For each reservation the hold under its ID, or the reason why none exists. The hold may differ from the
            reservation; of a hold that has ended, only the state may be known.
        """

    async def funds(self, owners: Collection[tuple[UUID, str]]) -> Mapping[tuple[UUID, str], Funds | DomainError]:
        """Return what the wallets of customers hold in a currency each, or why that is unknown."""


class WriteOffWallets(Protocol):
    """The part of the wallets service that write-offs need."""

    async def write_off(self, charge: Charge, description: str) -> Deduction:
        """Make a charge at our expense, once a job.

        Raises:
            DependencyUnavailable: If the outcome is unknown.
        """

    async def deduct(self, charges: Sequence[Charge]) -> list[Deduction | DomainError]:
        """Make charges, each under the key of its job; return for each the outcome, or why it is unknown."""


class Wallets(HoldWallets, Protocol):
    """The wallets service."""

    async def deduct(self, charges: Sequence[Charge]) -> list[Deduction | DomainError]:
        """Make charges, each under the key of its job; return for each the outcome, or why it is unknown."""

    async def release_holds(self, releases: Sequence[Release]) -> list[Released | DomainError]:
        """Release the holds of jobs, idempotently; return for each the outcome, or why it is unknown."""

    async def clock_ahead(self) -> timedelta:
        """Return how far the ledger's clock, which stamps holds, is ahead of our database's.

        Raises:
            DependencyUnavailable: If the wallets service does not respond.
        """

    async def read_hold(self, hold_id: UUID) -> Hold | DomainError:
        """Return a hold in its present state, or why that is unknown."""

    def active_holds(self, since: datetime, until: datetime) -> AsyncIterator[Sequence[Hold]]:
        """Return the active holds that were placed in a period, the oldest first, page by page.

        Raises:
            DependencyUnavailable: If the wallets service does not respond.
        """


class JobTypes(Protocol):
    """The job types that submissions name."""

    async def resolve(self, wanted: Collection[UUID | str]) -> Mapping[UUID | str, JobType | DomainError]:
        """Return the job types that exist, by the IDs and names that were asked for.

        For a stored job type that is not understood, the error to fail with is returned instead.
        """

    def forget(self, wanted: Collection[UUID | str]) -> None:
        """Forget job types that no longer exist."""


class JobTypeCache(Protocol):
    """The job types that submissions have in a cache."""

    def changing(self, *job_types: NewJobType) -> None:
        """Drop job types from the caches of all processes when the open transaction, which changes them, ends."""


class SchemaChecks(Protocol):
    """Checks inputs with the schemas of their job types, and schemas themselves."""

    def check_small(self, schema: str, text: str) -> Verdict | None:
        """Return the verdict on an input if the check is small work; None if only `check` can do it."""

    async def check(self, schema: str, text: str) -> Verdict:
        """Return the verdict on an input, however large.

        Args:
            schema: A stored schema.
            text: JSON text that can be stored.

        Raises:
            Overloaded: If too many inputs wait for their check.
        """

    async def check_schema(self, schema: str) -> None:
        """Check a schema that is to be stored.

        Raises:
            InvalidSchema: If it cannot be used, or checks with it cannot be bounded.
            Overloaded: If too many inputs wait for their check.
        """


class Queue(Protocol):
    """Takes the IDs of waiting jobs to the lists that runners read. Never fails and never blocks a caller."""

    def withheld(self, jobs: Sequence[NewJob], kinds: Mapping[UUID, JobType]) -> set[UUID]:
        """Return the jobs that are not dispatched yet: a list is full, a customer has many jobs in it, it is paused.

        Args:
            jobs: Jobs about to be stored.
            kinds: Their types.
        """

    def put(self, jobs: Sequence[Waiting], *, first: bool = False) -> None:
        """Push jobs that were stored as dispatched; `first` for those that have waited before."""

    def wake(self, *lists: ListKey) -> None:
        """Dispatch jobs that were stored as withheld, also to lists that are not named."""

    def expect(self, wait: timedelta) -> None:
        """Expect a job that is due after this time."""


class Changes(Protocol):
    """Notifies watchers, in this process and in others, of jobs that have changed. Never fails and never waits."""

    def put(self, job_ids: Collection[UUID]) -> None:
        """Notify the watchers of some jobs."""


class Watchers(Protocol):
    """The watchers of this process."""

    def notice(self, job_ids: Iterable[UUID]) -> None:
        """Note changed jobs."""

    def resync(self) -> None:
        """Note that changes may have been missed."""


class Unserved(Protocol):
    """Collects which jobs runners have no handler for. Never fails and never blocks."""

    def claimed(self, claim: Claim, claimed: Claimed) -> None:
        """Note a claim and its result."""

    def refused(self, backlogs: Iterable[Backlog]) -> None:
        """Note jobs that were handed back because their runner cannot run them."""


class UnservedRepository(Protocol):
    """The stored backlogs."""

    async def note(self, notes: Sequence[Note]) -> None:
        """Add what was seen. A backlog exists from the first job that was refused."""

    async def due(self, limit: int) -> list[BacklogState]:
        """Return backlogs that may be fed, locked, without paused ones and those locked by another replica."""

    async def fed(self, backlog: Backlog, wait: timedelta) -> None:
        """Reset the counts, and let the backlog wait."""

    async def drop(self, backlog: Backlog) -> None:
        """Leave the backlog's jobs to the dispatcher again."""

    async def backlogs(self) -> Mapping[Backlog, str]:
        """Return all backlogs, and their handlers."""

    async def counts(self) -> list[Count]:
        """Count the waiting jobs of backlogs whose handler no runner of the last minute has."""


class Announcements(Protocol):
    """Collects what runners say about themselves. Never fails and never blocks."""

    def put(self, announcement: Announcement) -> None:
        """Note an announcement, to be stored soon."""


@dataclass(frozen=True)
class NotNoted:
    """The runners whose announcement was not stored.

    Attributes:
        locked: Those whose row is locked.
        of_others: Those that another caller has described before, each with the caller that was refused.
    """

    locked: AbstractSet[UUID] = frozenset()
    of_others: AbstractSet[tuple[UUID, str]] = frozenset()


class RunnerRepository(Protocol):
    """The stored runners."""

    async def note(self, announcements: Sequence[Announcement], most: int = RUNNERS_MAX) -> NotNoted:
        """Store announcements, at most one of a runner by each caller.

        A runner belongs to the first authenticated caller that describes it (`belongs_to`).

        Args:
            announcements: The announcements.
            most: How many runners are stored; new ones beyond that are left out.
        """

    async def get(self, runner_id: UUID) -> Runner | None:
        """Return the runner, if it is known."""

    async def list_page(self, query: ListQuery) -> Page[Runner]:
        """Return a page of runners."""

    async def active(self) -> tuple[Mapping[str, int], int]:
        """Count the ACTIVE runners that take jobs from each queue, and those that do not say from which they take."""

    async def delete_gone(self, kept: Gone) -> int:
        """Delete runners that ended or were not seen for too long, and return their number; skip locked rows."""


class QueueUnavailable(Exception):
    """The queue did not take the IDs, or did not confirm it in time."""


class QueueLists(Protocol):
    """The lists that runners take IDs from. A list that cannot be used does not affect the others.

    All methods raise `QueueUnavailable` if the outcome is unknown for all lists.
    """

    async def push(self, jobs: Sequence[Waiting], *, first: bool = False) -> Mapping[ListKey, int]:
        """Add jobs, each to the list of its queue and priority, in this order; `first` for before all others.

        Returns:
            The new lengths of the lists, without lists that refused their jobs.
        """

    async def lengths(self, keys: Sequence[ListKey]) -> Mapping[ListKey, int]:
        """Return the lengths of lists, without lists that cannot be used."""

    async def names(self) -> list[ListKey]:
        """Return all lists that are not empty, also those that no job waits in."""

    async def read(self, key: ListKey) -> list[UUID]:
        """Return all IDs of a list, without entries that are no IDs."""

    async def remove(self, key: ListKey, job_ids: Collection[UUID]) -> None:
        """Remove IDs from a list. After an error some may be left."""

    async def take_back(self, key: ListKey, count: int) -> list[UUID]:
        """Remove IDs from the end of a list, where the newest are, and return them.

        After an error it is unknown which were removed: they are found missing, and pushed again.
        """


class JobTypeRepository(Protocol):
    """Stored job types."""

    async def get(self, job_type_id: UUID) -> JobType | None:
        """Return the job type, if it exists."""

    async def get_locked(self, job_type_id: UUID) -> JobType | None:
        """Return the job type, if it exists, locked until the transaction ends."""

    async def get_by_name(self, name: str) -> JobType | None:
        """Return the job type, if it exists."""

    async def resolve(
        self, ids: Collection[UUID], names: Collection[str]
    ) -> Mapping[UUID | str, JobType | DataCorrupt]:
        """Return the job types that exist under their IDs and names; a row not understood does not affect others."""

    async def list_page(self, query: ListQuery) -> Page[JobType]:
        """Return a page of job types."""

    async def create(self, job_type: NewJobType) -> JobType:
        """Store a job type.

        Raises:
            AlreadyExists: With `constraints.JOB_TYPE_ID` or `constraints.JOB_TYPE_NAME`.
        """

    async def update(self, job_type: JobType) -> JobType:
        """Store a changed job type and return it with its new version.

        Raises:
            AlreadyExists: With `constraints.JOB_TYPE_NAME`.
            Conflict: If the stored version is not the job type's.
        """

    async def delete(self, job_type_id: UUID) -> bool:
        """Remove a job type; return False if it did not exist.

        Raises:
            StillReferenced: With `constraints.JOB_TYPE_IN_USE`.
        """


class JobRepository(Protocol):
    """Stored jobs. They are returned without their payloads, except by `get` and `claim`.

    Methods that lock skip rows locked by another transaction, or wait for them if `wait` is true.
    """

    async def get(self, job_id: UUID, wanted: Specification = ALWAYS, *, full: bool = True) -> Job | None:
        """Return the job if it exists and meets a condition; with its payloads if `full`."""

    async def own(self, job_ids: Collection[UUID], tenants: Tenants) -> AbstractSet[UUID]:
        """Return those of some IDs that their jobs have, or had: those that were charged and deleted."""

    async def get_many(self, job_ids: Iterable[UUID]) -> Mapping[UUID, Job | DataCorrupt]:
        """Return the jobs that exist, by ID; a row not understood does not affect others."""

    async def list_page(self, query: ListQuery) -> Page[Job]:
        """Return a page of jobs."""

    async def payloads(self, job_ids: Collection[UUID]) -> Mapping[UUID, Payloads]:
        """Return the payloads of jobs."""

    async def create_many(
        self, jobs: Sequence[NewJob], withheld: Collection[UUID] = (), *, wait: bool = True
    ) -> dict[UUID, Job]:
        """Store jobs and return them, without those whose ID exists, or was charged and deleted.

        Args:
            jobs: The jobs, all with different IDs. PENDING ones are stored as dispatched, unless they are withheld.
            withheld: The jobs that are not dispatched yet.
            wait: Whether to wait for locks; otherwise jobs whose type is locked are left out.

        Raises:
            RowLocked: If a concurrent transaction is storing a job under the same ID.
            StillReferenced: If a job type has been deleted in the meantime.
        """

    async def claim(self, claim: Claim, *, wait: bool = True) -> Claimed:
        """Make PENDING jobs RUNNING under the lease; return them, and those that already run under it.

        Jobs of paused queues and types, and jobs that the runner does not serve, are withheld from the queue.
        """

    async def lock_many(self, job_ids: Collection[UUID], *, wait: bool = True) -> Mapping[UUID, Job | DataCorrupt]:
        """Return the jobs that exist, locked until the transaction ends.

        Raises:
            RowLocked: If the wait for a row took too long.
        """

    async def lock_billing(
        self, job_ids: Collection[UUID], *, wait: bool = True
    ) -> Mapping[UUID, Billing | DataCorrupt]:
        """Lock jobs in the same way, and return only their billing statuses and costs."""

    async def renew(self, renewal: Renewal) -> Renewed:
        """Extend the leases of RUNNING jobs, skipping locked rows."""

    async def apply(self, changes: Sequence[Change]) -> None:
        """Write changes, each of another job that is locked; changes of one class stand together.

        Of jobs that SUCCEEDED, progress and checkpoint are removed.
        """

    async def audit(self, changes: Sequence[tuple[Job, Job]]) -> None:
        """Write changes made by people to the audit trail, each job before and after."""

    async def report(self, reports: Sequence[Report]) -> None:
        """Store what handlers say, each report of another job that is locked and runs under its lease.

        A report whose sequence is not above the last one under the lease changes nothing.
        """

    async def versions(self, job_ids: Collection[UUID]) -> Mapping[UUID, int]:
        """Return the versions of the jobs that exist."""

    async def revisions(self, job_ids: Collection[UUID]) -> Mapping[UUID, Revision]:
        """Return what watchers see of the jobs that exist: their versions, and the numbers of their progress."""

    async def stats(self, queues: Collection[str]) -> list[QueueStats]:
        """Count waiting and running jobs, ordered by queue and priority; of all queues if none is named."""

    async def withhold(self, job_ids: Collection[UUID]) -> None:
        """Mark PENDING jobs as withheld from the queue, skipping locked rows."""

    async def withheld_lists(self) -> list[ListKey]:
        """Return the lists that withheld jobs belong to, without those of paused queues."""

    async def take_withheld(
        self,
        wanted: ListKey,
        limit: int,
        *,
        first: Lane | None = None,
        excluded: Collection[UUID] = (),
        only: UUID | None = None,
    ) -> Turns:
        """Mark withheld jobs of one list as dispatched, up to a limit, in turns.

        Args:
            wanted: The list.
            limit: The largest number of jobs, and of lanes.
            first: The lane to begin with; by default the first of all. Lanes before it have no turn.
            excluded: The job types that are not dispatched now.
            only: The only job type that is dispatched; a `first` lane belongs to it.
        """

    async def dispatched_lists(self) -> list[ListKey]:
        """Return the lists that PENDING jobs were dispatched to."""

    async def try_turn(self, wanted: ListKey) -> bool:
        """Return whether this transaction is the only one that compares a list until it ends."""

    async def dispatched(self, wanted: ListKey, before: timedelta, limit: int) -> list[UUID]:
        """Return PENDING jobs that were dispatched to a list longer ago than that, the oldest first."""

    async def still_dispatched(self, job_ids: Collection[UUID]) -> set[UUID]:
        """Return the jobs among these that are PENDING and dispatched."""

    async def release_scheduled(self, limit: int) -> list[UUID]:
        """Make SCHEDULED jobs that are due PENDING and withheld; return them."""

    async def next_scheduled(self) -> timedelta | None:
        """Return the time until the next SCHEDULED job is due, if there is one."""

    async def lock_lost(self, limit: int, without: Collection[UUID] = ()) -> Sequence[Job | DataCorrupt]:
        """Return RUNNING jobs whose lease has ended, locked; skip locked rows."""

    async def lock_overdue(self, limit: int, without: Collection[UUID] = ()) -> Sequence[Job | DataCorrupt]:
        """Return RUNNING jobs whose endpoint has sent no result in time, locked; skip locked rows."""

    async def begun(self, runner_ids: Collection[UUID], short: timedelta) -> Mapping[UUID, int]:
        """Count the jobs that runners had just begun: those that still seem to run, and those noted as lost."""

    async def note_lost(self, losses: Mapping[UUID, int]) -> None:
        """Remember for an hour how many jobs that they had just begun runners have lost."""

    async def lock_expired(self, limit: int, without: Collection[UUID] = ()) -> Sequence[Job | DataCorrupt]:
        """Return jobs that have expired without being started, locked; skip locked rows."""

    async def take_unsettled(self, limit: int, settle_after: timedelta, longest: timedelta) -> list[Due]:
        """Return charges and releases that are due for the settler, the oldest first.

        Each is postponed by a wait that doubles, up to the longest, so that no other replica takes it meanwhile.
        """

    async def count_unsettled(self) -> Mapping[BillingStatus, Unsettled]:
        """Count charges and releases that are due, declined or blocked, by billing status."""

    async def count_unfinished(self, limit: int) -> Mapping[UUID, int]:
        """Count the jobs that are not final by customer, for at most so many customers: those with the most."""

    async def lock_finished(self, age: timedelta, limit: int, without: Collection[UUID] = ()) -> list[UUID]:
        """Return jobs that have been final and settled for longer than this age, locked; skip locked rows."""

    async def delete_many(self, job_ids: Collection[UUID]) -> int:
        """Delete locked jobs and return their number. Of a charged job a receipt is kept."""

    async def left_alone(self, limit: int) -> list[DataCorrupt]:
        """Return jobs that background work skips because of unknown values, up to a limit for each kind of work."""


class PauseRepository(Protocol):
    """Pauses of queues and job types."""

    async def set_queue(self, name: str, *, paused: bool) -> None:
        """Pause or resume a queue. A change is written to the audit trail."""

    async def paused_queues(self) -> set[str]:
        """Return the names of the paused queues."""

    async def paused_types(self) -> set[UUID]:
        """Return the IDs of the paused job types."""

    async def unserved(self) -> set[Backlog]:
        """Return the backlogs that are fed apart, because runners have refused their jobs."""


class AuditProgress(Protocol):
    """The progress of the hold auditor."""

    async def window(self, age: timedelta) -> tuple[datetime, datetime]:
        """Return the time until which holds have been audited, and the time at which holds of this age were placed."""

    async def move(self, done_until: datetime) -> None:
        """Store the time until which holds have been audited; it never moves back."""

    async def keep(self, unreleased: Sequence[Release], wait: timedelta) -> None:
        """Store holds that could not be released, to be tried again after a wait."""

    async def take(self, limit: int, wait: timedelta, longest: timedelta) -> list[Release]:
        """Return stored holds that are due. Each is postponed by a wait that doubles, up to the longest."""

    async def forget(self, hold_ids: Collection[UUID]) -> None:
        """Remove stored holds that are done."""

    async def count(self) -> int:
        """Return the number of stored holds."""
