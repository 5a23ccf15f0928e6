"""A test's transaction on jobs and job types."""

from typing import Any

from services.jobs.repository import JobRepository, JobTypeRepository
from services.jobs.repository_memory import MemoryJobRepository, MemoryJobTypeRepository
from services.jobs.repository_sql import SqlJobRepository, SqlJobTypeRepository
from services.kit.data.transactions import Transactions
from services.kit.data.transactions_memory import MemoryTransactions
from services.kit.data.transactions_sql import SqlTransactions
from tests.work import Begin, Work


class JobsWork(Work):
    """The repositories of the jobs service in a transaction."""

    def __init__(self, transactions: Transactions[Any], jobs: JobRepository, job_types: JobTypeRepository) -> None:
        super().__init__(transactions)
        self.jobs = jobs
        self.job_types = job_types


BeginJobs = Begin[JobsWork]


def memory_work(transactions: MemoryTransactions) -> JobsWork:
    """In memory."""
    return JobsWork(transactions, MemoryJobRepository(transactions), MemoryJobTypeRepository(transactions))


def sql_work(transactions: SqlTransactions) -> JobsWork:
    """On PostgreSQL."""
    return JobsWork(transactions, SqlJobRepository(transactions), SqlJobTypeRepository(transactions))
