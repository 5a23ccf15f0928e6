"""Cancels jobs that no runner has started before they expired."""

from typing import Any

from services.jobs.metrics import JOBS, count_changed
from services.jobs.rules.entities import JobStatus
from services.jobs.rules.transitions.control import EXPIRED, removal
from services.jobs.usecases.ports import Changes, JobRepository
from services.kit.batching.dividing import Batch, Batches
from services.kit.data.transactions.ambient import Transactions

_BATCH = 500
_MESSAGE = "it was not started in its time"


class Expiry:
    """The cancellation of expired jobs, with the reason EXPIRED.

    Args:
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
        changes: Notified of jobs that have changed.
    """

    def __init__(self, transactions: Transactions[Any], jobs: JobRepository, changes: Changes) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._changes = changes
        self._batches = Batches("expiry")

    async def round(self) -> bool:
        """Cancel a batch; return whether more may be left."""
        return await self._batches.next(_BATCH, self._cancel)

    async def _cancel(self, batch: Batch) -> None:
        async with self.transactions.begin():
            expired = batch.take(await self._jobs.lock_expired(batch.limit, batch.without))
            removals = [removal(job, JobStatus.CANCELLED, EXPIRED, _MESSAGE) for job in expired]
            await self._jobs.apply(removals)
            if expired:
                self.transactions.after_commit(lambda: self._changes.put([job.id for job in expired]))
        count_changed({job.id: job for job in expired}, removals)
        JOBS.labels("expiry", "cancelled").inc(len(expired))
