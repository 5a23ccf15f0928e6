"""Rescues jobs whose runner is lost."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from random import uniform
from time import monotonic
from typing import Any
from uuid import UUID

import structlog

from services.jobs.metrics import JOBS, count_changed
from services.jobs.rules.entities import Job, Waiting
from services.jobs.rules.transitions.deaths import DeathRules
from services.jobs.rules.transitions.rescue import Rescue, rescued, short_losses
from services.jobs.usecases.ports import Changes, JobRepository, Queue
from services.kit.batching.dividing import Batch, Batches
from services.kit.data.transactions.ambient import Transactions

log = structlog.get_logger(__name__)

_BATCH = 500
# A gap of fewer rounds is a slow round, not an outage.
_ROUNDS_MISSED = 3
# More rescued jobs than these are dispatched one by one, spread over some time. If this process ends meanwhile, the
# reconciler pushes the others.
_TOGETHER = 2
_SPREAD_SECONDS = 1.0


class Rescuer:
    """The rescue of jobs whose lease has ended: they wait again, or FAIL when that happens too often.

    Args:
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
        queue: Dispatches the rescued jobs.
        changes: Notified of jobs that have changed.
        deaths: How often a job may be suspected of having ended its runner, and how long it waits.
        every: The interval of the rounds.
        grace: The time without rescues after the start, and after missed rounds: runners could not renew their leases
            during the outage either, and renew them first.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        jobs: JobRepository,
        queue: Queue,
        changes: Changes,
        *,
        deaths: DeathRules,
        every: timedelta,
        grace: timedelta,
    ) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._queue = queue
        self._changes = changes
        self._deaths = deaths
        self._grace = grace.total_seconds()
        self._gap = _ROUNDS_MISSED * every.total_seconds()
        self._batches = Batches("rescuer")
        self._looked_at: float | None = None
        self._rescues_from = 0.0

    async def round(self) -> bool:
        """Rescue a batch; return whether more may be left."""
        # During the grace, an empty batch checks that the database is available.
        return await self._batches.next(_BATCH if self._may_rescue() else 0, self._rescue)

    def _may_rescue(self) -> bool:
        """Return whether the database was available for long enough that no lease has ended because of an outage."""
        now = monotonic()
        if self._looked_at is None or now - self._looked_at > self._gap:
            self._rescues_from = now + self._grace
        return now >= self._rescues_from

    async def _rescue(self, batch: Batch) -> None:
        async with self.transactions.begin():
            lost = batch.take(await self._jobs.lock_lost(batch.limit, batch.without))
            begun = await self._begun(lost)
            rescues, removals = rescued(lost, begun, self._deaths)
            await self._jobs.apply([*removals, *rescues])
            again = {one.job_id for one in rescues if one.run_at is None}
            waiting = [Waiting.of(job) for job in lost if job.id in again]
            if lost:
                self.transactions.after_commit(lambda: self._dispatch(waiting, rescues, apart=len(lost) > _TOGETHER))
                self.transactions.after_commit(lambda: self._changes.put([job.id for job in lost]))
        self._looked_at = monotonic()
        failed = {one.job_id for one in removals}
        for job in lost:
            log.warning(
                "job_given_up" if job.id in failed else "job_rescued",
                job_id=str(job.id),
                runner_id=str(job.runner_id),
                rescues=job.rescue_count,
                deaths=job.deaths,
            )
        count_changed({job.id: job for job in lost}, removals)
        JOBS.labels("rescuer", "rescued").inc(len(rescues))
        JOBS.labels("rescuer", "failed").inc(len(removals))

    async def _begun(self, lost: Sequence[Job]) -> Mapping[UUID, int]:
        """Return by runner how many jobs it had just begun, of these and of earlier rounds."""
        losses = short_losses(lost, self._deaths)
        if not losses:
            return {}
        begun = await self._jobs.begun(losses.keys(), self._deaths.short)
        await self._jobs.note_lost(losses)
        return begun

    def _dispatch(self, waiting: Sequence[Waiting], rescues: Sequence[Rescue], *, apart: bool) -> None:
        """Dispatch rescued jobs in front; many of them one by one, so that one runner does not take them all."""
        waits = [one.run_at for one in rescues if one.run_at is not None]
        if waits:
            self._queue.expect(min(waits))
        if not apart:
            self._queue.put(waiting, first=True)
            return
        loop = asyncio.get_running_loop()
        for one in waiting:
            loop.call_later(uniform(0, _SPREAD_SECONDS), partial(self._queue.put, [one], first=True))  # noqa: S311 - no secret
