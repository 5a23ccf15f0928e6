"""What has not come to its end with the money of jobs, as metrics: an operator's first look."""

from typing import Any

from services.jobs.domain import BillingStatus
from services.jobs.metrics import OVERDUE, UNSETTLED
from services.jobs.repository import JobRepository
from services.kit.data.transactions import Transactions

_SHOWN = (
    BillingStatus.CHARGE_DUE,
    BillingStatus.RELEASE_DUE,
    BillingStatus.DECLINED,
    BillingStatus.CHARGE_BLOCKED,
)


class Gauges:
    """Counts charges and releases that are due, declined or blocked. Each replica shows the same figures.

    Args:
        transactions: Where they begin.
        jobs: The stored jobs.
    """

    def __init__(self, transactions: Transactions[Any], jobs: JobRepository) -> None:
        self.transactions = transactions
        self._jobs = jobs

    async def round(self) -> bool:
        """Counts once."""
        async with self.transactions.begin(read_only=True):
            counted = await self._jobs.count_unsettled()
        for status in _SHOWN:
            UNSETTLED.labels(status.value).set(counted[status].jobs if status in counted else 0)
        OVERDUE.set(sum(one.overdue for one in counted.values()))
        return False
