"""Metrics that are read from the database: an operator's first look."""

from typing import Any

from services.jobs.metrics import BACKLOG, JOB_TYPE_NAMES, LEFT_ALONE, OVERDUE, UNSETTLED
from services.jobs.rules.entities import BillingStatus
from services.jobs.rules.job_types import JobType
from services.jobs.usecases.ports import JobRepository, JobTypes
from services.kit.data.transactions.ambient import Transactions

_SHOWN = (
    BillingStatus.CHARGE_DUE,
    BillingStatus.RELEASE_DUE,
    BillingStatus.DECLINED,
    BillingStatus.CHARGE_BLOCKED,
)

_LEFT_ALONE_MAX = 100


class Gauges:
    """Gauges of charges that are due, declined or blocked, and of jobs that no background work takes.

    Each replica exports the same figures.

    Args:
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
    """

    def __init__(self, transactions: Transactions[Any], jobs: JobRepository) -> None:
        self.transactions = transactions
        self._jobs = jobs

    async def round(self) -> bool:
        """Count once."""
        async with self.transactions.begin(read_only=True):
            counted = await self._jobs.count_unsettled()
            left_alone = await self._jobs.left_alone(_LEFT_ALONE_MAX)
        for status in _SHOWN:
            UNSETTLED.labels(status.value).set(counted[status].jobs if status in counted else 0)
        LEFT_ALONE.set(len(left_alone))
        OVERDUE.set(sum(one.overdue for one in counted.values()))
        return False


class BacklogGauges:
    """Gauges of waiting and running jobs by queue, which each replica exports, and the names of job types for labels.

    Args:
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
        job_types: The job types.
    """

    def __init__(self, transactions: Transactions[Any], jobs: JobRepository, job_types: JobTypes) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._job_types = job_types

    async def round(self) -> bool:
        """Count once."""
        async with self.transactions.begin(read_only=True):
            BACKLOG.counted = await self._jobs.stats(())
        if missing := set(JOB_TYPE_NAMES.missing):
            found = await self._job_types.resolve(missing)
            JOB_TYPE_NAMES.know({one.id: one.name for one in found.values() if isinstance(one, JobType)})
            JOB_TYPE_NAMES.missing -= missing
        return False
