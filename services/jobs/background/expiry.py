"""Ends waits that took too long: of jobs that no runner has started, and of jobs for the result of their endpoint."""

from collections.abc import Callable
from typing import Any

from services.jobs.metrics import JOBS, count_changed
from services.jobs.rules.entities import BillingStatus, JobStatus
from services.jobs.rules.job_types import JobType
from services.jobs.rules.transitions.callbacks import timed_out
from services.jobs.rules.transitions.control import EXPIRED, removal
from services.jobs.usecases.ports import Changes, JobRepository, JobTypeRepository, Queue
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


class OverdueCallbacks:
    """The ends of attempts whose endpoint has accepted the job and sent no result in time: they have failed.

    Args:
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
        job_types: The stored job types, which define how long failed jobs wait.
        queue: Notified of jobs that wait again.
        changes: Notified of jobs that have changed.
        wake_settler: Called when holds are due for release.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        jobs: JobRepository,
        job_types: JobTypeRepository,
        *,
        queue: Queue,
        changes: Changes,
        wake_settler: Callable[[], None],
    ) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._job_types = job_types
        self._queue = queue
        self._changes = changes
        self._wake_settler = wake_settler
        self._batches = Batches("overdue callbacks")

    async def round(self) -> bool:
        """End a batch; return whether more may be left."""
        return await self._batches.next(_BATCH, self._end)

    async def _end(self, batch: Batch) -> None:
        async with self.transactions.begin():
            overdue = batch.take(await self._jobs.lock_overdue(batch.limit, batch.without))
            if not overdue:
                return
            kinds = await self._job_types.resolve({job.job_type_id for job in overdue}, ())
            types = {key: kind for key, kind in kinds.items() if isinstance(kind, JobType)}
            ends = [
                timed_out(job, job.lease_id, types.get(job.job_type_id)) for job in overdue if job.lease_id is not None
            ]
            await self._jobs.apply(ends)
            self.transactions.after_commit(lambda: self._changes.put([job.id for job in overdue]))
            if any(end.billing_status is BillingStatus.RELEASE_DUE for end in ends):
                self.transactions.after_commit(self._wake_settler)
            waits = [end.run_at for end in ends if end.run_at is not None]
            if waits:
                self.transactions.after_commit(lambda: self._queue.expect(min(waits)))
        count_changed({job.id: job for job in overdue}, ends)
        JOBS.labels("expiry", "timed_out").inc(len(overdue))
