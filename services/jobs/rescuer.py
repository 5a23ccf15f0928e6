"""Rescues jobs whose runner is lost."""

from datetime import timedelta
from time import monotonic
from typing import Any

import structlog

from services.jobs.control import RUNNER_LOST, removal
from services.jobs.domain import JobStatus
from services.jobs.metrics import JOBS
from services.jobs.ports import Changes, Queue
from services.jobs.repository import JobRepository
from services.kit.data.transactions import Transactions
from services.kit.dividing import Batch, Batches

log = structlog.get_logger(__name__)

_BATCH = 500
# Rounds that take long are no outage.
_ROUNDS_MISSED = 3


class Rescuer:
    """Has jobs wait again whose lease has ended, or ends those that it happens to too often.

    Args:
        transactions: Where they begin.
        jobs: The stored jobs.
        queue: Takes the IDs of jobs that wait again.
        changes: Is told of jobs that have changed.
        rescues_max: How often a job may lose its runner; then it is FAILED.
        every: How often a round is to be.
        grace: For how long nobody is rescued after the start, and after rounds were missed: the runners could not renew
            their leases either, and get the time to do so.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        jobs: JobRepository,
        queue: Queue,
        changes: Changes,
        *,
        rescues_max: int,
        every: timedelta,
        grace: timedelta,
    ) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._queue = queue
        self._changes = changes
        self._rescues_max = rescues_max
        self._grace = grace.total_seconds()
        self._gap = _ROUNDS_MISSED * every.total_seconds()
        self._batches = Batches("rescuer")
        self._looked_at: float | None = None
        self._rescues_from = 0.0

    async def round(self) -> bool:
        """Rescue some; return whether there may be more of them."""
        # While nobody is to be rescued, a batch of none is a sign of life of the database.
        return await self._batches.next(_BATCH if self._may_rescue() else 0, self._rescue)

    def _may_rescue(self) -> bool:
        """Whether this process has seen the database for long enough that a lease can't have ended for want of it."""
        now = monotonic()
        if self._looked_at is None or now - self._looked_at > self._gap:
            self._rescues_from = now + self._grace
        return now >= self._rescues_from

    async def _rescue(self, batch: Batch) -> None:
        async with self.transactions.begin():
            lost = batch.take(await self._jobs.lock_lost(batch.limit, batch.without))
            hopeless = [job for job in lost if job.rescue_count >= self._rescues_max]
            message = f"its runner was lost {self._rescues_max + 1} times"
            await self._jobs.remove_many([removal(job, JobStatus.FAILED, RUNNER_LOST, message) for job in hopeless])
            waiting = await self._jobs.rescue_many({job.id for job in lost} - {job.id for job in hopeless})
            if lost:
                self.transactions.after_commit(lambda: self._queue.put(waiting, first=True))
                self.transactions.after_commit(lambda: self._changes.put([job.id for job in lost]))
        self._looked_at = monotonic()
        for job in lost:
            log.warning(
                "job rescued" if job not in hopeless else "job given up",
                job_id=str(job.id),
                runner_id=str(job.runner_id),
                rescues=job.rescue_count,
            )
        JOBS.labels("rescuer", "rescued").inc(len(waiting))
        JOBS.labels("rescuer", "failed").inc(len(hopeless))
