"""A test's transaction on jobs and job types."""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from services.jobs.rules.entities import Backlog, Charge, ListKey, NewJob, Release, Waiting
from services.jobs.rules.errors import HoldNotActive, InsufficientFunds
from services.jobs.rules.holds import Hold, HoldState, HoldTimes, Reservation
from services.jobs.rules.job_types import JobType
from services.jobs.rules.prices.quote import Funds
from services.jobs.rules.transitions.completion import Charged, Declined, Deduction, Released
from services.jobs.rules.transitions.leasing import Claim, Claimed
from services.jobs.store.hold_audit_memory import MemoryAuditProgress
from services.jobs.store.hold_audit_sql import SqlAuditProgress
from services.jobs.store.job_types_memory import MemoryJobTypeRepository
from services.jobs.store.job_types_sql import SqlJobTypeRepository
from services.jobs.store.memory import MemoryJobRepository
from services.jobs.store.pauses_memory import MemoryPauseRepository
from services.jobs.store.pauses_sql import SqlPauseRepository
from services.jobs.store.runners.memory import MemoryRunners
from services.jobs.store.runners.sql import SqlRunners
from services.jobs.store.sql import SqlJobRepository
from services.jobs.store.unserved_memory import MemoryUnserved
from services.jobs.store.unserved_sql import SqlUnserved
from services.jobs.usecases.ports import (
    AuditProgress,
    JobRepository,
    JobTypeRepository,
    PauseRepository,
    RunnerRepository,
    UnservedRepository,
)
from services.jobs.usecases.submission.reservations import Reservations
from services.kit.data.transactions.ambient import Transactions
from services.kit.data.transactions.memory import MemoryTransactions
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.errors import DependencyUnavailable, DomainError
from tests.support.work import Begin, Work

TRANSACTION = uuid7()


def nobody() -> None:
    """Is woken, where there is no settler."""


class QueueForTests:
    """A queue that only keeps what it is notified."""

    def __init__(self) -> None:
        self.full: set[ListKey] = set()
        self.jobs: list[Waiting] = []
        self.first: list[Waiting] = []
        self.woken = 0
        self.expected: list[timedelta] = []

    def withheld(self, jobs: Sequence[NewJob], kinds: Mapping[UUID, JobType]) -> set[UUID]:
        return {
            job.id for job in jobs if ListKey(job.queue, job.priority) in self.full or kinds[job.job_type_id].paused
        }

    def put(self, jobs: Sequence[Waiting], *, first: bool = False) -> None:
        (self.first if first else self.jobs).extend(jobs)

    def wake(self, *lists: ListKey) -> None:
        self.woken += 1

    def expect(self, wait: timedelta) -> None:
        self.expected.append(wait)


class ChangesForTests:
    """Keeps which jobs have changed."""

    def __init__(self) -> None:
        self.job_ids: list[UUID] = []

    def put(self, job_ids: Collection[UUID]) -> None:
        self.job_ids.extend(job_ids)


class UnservedForTests:
    """Keeps what runners had no handler for."""

    def __init__(self) -> None:
        self.backlogs: list[Backlog] = []

    def claimed(self, claim: Claim, claimed: Claimed) -> None:
        self.backlogs.extend(claimed.unserved)

    def refused(self, backlogs: Iterable[Backlog]) -> None:
        self.backlogs.extend(backlogs)


class CustomersForTests:
    """A customers service with customers that are active.

    Attributes:
        states: What it says of others: whether they are active, or why that is unknown; None if they do not exist.
        asked: The customers that it was asked for, by call.
    """

    def __init__(self) -> None:
        self.states: dict[UUID, bool | DomainError | None] = {}
        self.asked: list[set[UUID]] = []

    async def active(self, customer_ids: Collection[UUID]) -> Mapping[UUID, bool | DomainError]:
        self.asked.append(set(customer_ids))
        found = {one: self.states.get(one, True) for one in customer_ids}
        return {one: state for one, state in found.items() if state is not None}


class WalletsForTests:
    """A wallets service that returns as it is asked to.

    Attributes:
        charged: The charges that were asked for, by call.
        reason: Why charges are declined; empty if they are not.
        unknown: The jobs of which nothing gets known: the service does not respond.
        holds: What is held, by ID.
        released: The holds that were released.
        poor: The customers that have nothing.
        captured: The holds that can't be released because they were captured.
        now: The ledger's time.
        ahead: How far that is ahead of the jobs' database.
    """

    def __init__(self) -> None:
        self.charged: list[list[Charge]] = []
        self.reason = ""
        self.unknown: set[UUID] = set()
        self.holds: dict[UUID, Hold] = {}
        self.placed: list[list[Reservation]] = []
        self.released: list[UUID] = []
        self.poor: set[UUID] = set()
        self.captured: set[UUID] = set()
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.ahead = timedelta(0)

    async def deduct(self, charges: Sequence[Charge]) -> list[Deduction | DomainError]:
        self.charged.append(list(charges))
        return [self._answer(charge) for charge in charges]

    def _answer(self, charge: Charge) -> Deduction | DomainError:
        if charge.job_id in self.unknown:
            return DependencyUnavailable("wallets")
        return Declined(charge.job_id, self.reason) if self.reason else Charged(charge.job_id, TRANSACTION)

    async def place_holds(self, wanted: Sequence[Reservation]) -> list[Hold | HoldState | DomainError]:
        self.placed.append(list(wanted))
        return [self._place(one) for one in wanted]

    async def funds(self, owners: Collection[tuple[UUID, str]]) -> Mapping[tuple[UUID, str], Funds | DomainError]:
        return {one: Funds(0, 0) if one[0] in self.poor else Funds(100_000, 100_000) for one in owners}

    def _place(self, wanted: Reservation) -> Hold | DomainError:
        if wanted.job_id in self.unknown:
            return DependencyUnavailable("wallets")
        if wanted.hold_id not in self.holds:
            if wanted.customer_id in self.poor:
                return InsufficientFunds(0, wanted.amount_cents, wanted.currency, wanted.customer_id)
            self.hold(wanted)
        return self._aged(self.holds[wanted.hold_id])

    def hold(self, wanted: Reservation, **values: Any) -> Hold:
        """Hold money as an earlier call did it."""
        asked = {name: getattr(wanted, name) for name in ("job_id", "customer_id", "currency", "amount_cents")}
        known = {"id": wanted.hold_id, "state": HoldState.ACTIVE, "created_at": self.now(), **asked, **values}
        self.holds[wanted.hold_id] = self._aged(Hold(**known, age=timedelta(0)))
        return self.holds[wanted.hold_id]

    def _aged(self, hold: Hold) -> Hold:
        return replace(hold, age=self.now() - hold.created_at)

    async def release_holds(self, releases: Sequence[Release]) -> list[Released | DomainError]:
        return [self._release(one) for one in releases]

    def _release(self, one: Release) -> Released | DomainError:
        if one.job_id in self.unknown:
            return DependencyUnavailable("wallets")
        if one.hold_id in self.captured:
            return HoldNotActive(one.hold_id)
        self.released.append(one.hold_id)
        if one.hold_id in self.holds:
            self.holds[one.hold_id] = replace(self.holds[one.hold_id], state=HoldState.RELEASED)
        return Released(one.job_id)

    async def clock_ahead(self) -> timedelta:
        return self.ahead

    async def read_hold(self, hold_id: UUID) -> Hold | DomainError:
        return self._aged(self.holds[hold_id])

    async def active_holds(self, since: datetime, until: datetime) -> AsyncIterator[Sequence[Hold]]:
        found = [one for one in self.holds.values() if one.state is HoldState.ACTIVE]
        found = [one for one in found if since <= one.created_at < until]
        for one in sorted(found, key=lambda one: one.created_at):
            yield [one]

    def reservations(self) -> Reservations:
        """Reserves money of it."""
        return Reservations(self, HoldTimes(orphan_after=timedelta(minutes=10)))


class TypesForTests:
    """Job types that are known."""

    def __init__(self, *job_types: JobType) -> None:
        self.known = {one.id: one for one in job_types}

    async def resolve(self, wanted: Collection[UUID | str]) -> dict[UUID | str, JobType | DomainError]:
        return {key: self.known[key] for key in wanted if isinstance(key, UUID) and key in self.known}

    def forget(self, wanted: Collection[UUID | str]) -> None:
        """There is nothing to forget."""


class JobsWork(Work):
    """The repositories of the jobs service in a transaction."""

    def __init__(
        self,
        transactions: Transactions[Any],
        jobs: JobRepository,
        job_types: JobTypeRepository,
        pauses: PauseRepository,
        progress: AuditProgress,
        *,
        unserved: UnservedRepository,
        runners: RunnerRepository,
    ) -> None:
        super().__init__(transactions)
        self.jobs = jobs
        self.job_types = job_types
        self.pauses = pauses
        self.progress = progress
        self.unserved = unserved
        self.runners = runners


BeginJobs = Begin[JobsWork]


def memory_work(transactions: MemoryTransactions) -> JobsWork:
    """In memory."""
    return JobsWork(
        transactions,
        MemoryJobRepository(transactions),
        MemoryJobTypeRepository(transactions),
        MemoryPauseRepository(transactions),
        MemoryAuditProgress(transactions, lambda: datetime.now(UTC)),
        unserved=MemoryUnserved(transactions),
        runners=MemoryRunners(transactions),
    )


def sql_work(transactions: SqlTransactions) -> JobsWork:
    """On PostgreSQL."""
    return JobsWork(
        transactions,
        SqlJobRepository(transactions),
        SqlJobTypeRepository(transactions),
        SqlPauseRepository(transactions),
        SqlAuditProgress(transactions),
        unserved=SqlUnserved(transactions),
        runners=SqlRunners(transactions),
    )
