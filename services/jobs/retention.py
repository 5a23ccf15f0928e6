"""Deletes jobs that have been over for long."""

from datetime import timedelta
from typing import Any

from services.jobs.metrics import JOBS
from services.jobs.repository import JobRepository
from services.kit.data.transactions import Transactions

_BATCH = 500


class Retention:
    """Deletes jobs that have been over for long; of charged ones a receipt is kept.

    Args:
        transactions: Where they begin.
        jobs: The stored jobs.
        age: How long they are kept.
    """

    def __init__(self, transactions: Transactions[Any], jobs: JobRepository, *, age: timedelta) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._age = age

    async def round(self) -> bool:
        """Deletes some."""
        async with self.transactions.begin():
            deleted = await self._jobs.delete_finished(self._age, _BATCH)
        JOBS.labels("retention", "deleted").inc(deleted)
        return deleted == _BATCH
