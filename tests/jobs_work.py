"""A test's transaction on jobs and job types."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from services.jobs.domain import ListKey, Waiting
from services.jobs.job_types import JobType
from services.jobs.repository import JobRepository, JobTypeRepository, PauseRepository
from services.jobs.repository_memory import MemoryJobRepository, MemoryJobTypeRepository, MemoryPauseRepository
from services.jobs.repository_sql import SqlJobRepository, SqlJobTypeRepository, SqlPauseRepository
from services.kit.data.transactions import Transactions
from services.kit.data.transactions_memory import MemoryTransactions
from services.kit.data.transactions_sql import SqlTransactions
from services.kit.errors import DomainError
from tests.work import Begin, Work


class QueueForTests:
    """A queue that only keeps what it is told."""

    def __init__(self) -> None:
        self.withheld: set[ListKey] = set()
        self.jobs: list[Waiting] = []
        self.first: list[Waiting] = []
        self.woken = 0
        self.expected: list[timedelta] = []

    def withholds(self, wanted: ListKey, job_type: JobType) -> bool:
        return wanted in self.withheld or job_type.paused

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
    ) -> None:
        super().__init__(transactions)
        self.jobs = jobs
        self.job_types = job_types
        self.pauses = pauses


BeginJobs = Begin[JobsWork]


def memory_work(transactions: MemoryTransactions) -> JobsWork:
    """In memory."""
    return JobsWork(
        transactions,
        MemoryJobRepository(transactions),
        MemoryJobTypeRepository(transactions),
        MemoryPauseRepository(transactions),
    )


def sql_work(transactions: SqlTransactions) -> JobsWork:
    """On PostgreSQL."""
    return JobsWork(
        transactions,
        SqlJobRepository(transactions),
        SqlJobTypeRepository(transactions),
        SqlPauseRepository(transactions),
    )
