"""Deletes old finished jobs."""

from datetime import timedelta
from typing import Any

from services.jobs.metrics import JOBS
from services.jobs.usecases.ports import JobRepository
from services.kit.batching.dividing import Batch, Batches
from services.kit.data.transactions.ambient import Transactions

_BATCH = 500


class Retention:
    """The deletion of old jobs that are final and settled; of charged jobs a receipt is kept.

    Args:
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
        age: How long finished jobs are kept.
    """

    def __init__(self, transactions: Transactions[Any], jobs: JobRepository, *, age: timedelta) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._age = age
        self._batches = Batches("retention")

    async def round(self) -> bool:
        """Delete a batch; return whether more may be left."""
        return await self._batches.next(_BATCH, self._delete)

    async def _delete(self, batch: Batch) -> None:
        async with self.transactions.begin():
            batch.taken = await self._jobs.lock_finished(self._age, batch.limit, batch.without)
            deleted = await self._jobs.delete_many(batch.taken) if batch.taken else 0
        JOBS.labels("retention", "deleted").inc(deleted)
