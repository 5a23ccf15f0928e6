"""Compares the lists in Redis with the jobs that were dispatched to them, and repairs the differences.

The lists are short, so the comparison is exact. An ID that is missing in two rounds was lost between commit, push, pop
and claim, or with all data of Redis: it is pushed again, in front. An ID that belongs to no dispatched job is removed.
Redis is read first: each ID in a list was committed before it was pushed, so the database has its job.

One replica at a time compares a list: the turn is a lock of the one short transaction that reads the database. So it
takes no second connection, and a replica that freezes loses its turn when the database ends the transaction
(`idle_in_transaction_timeout_seconds`). An ID that two replicas push concurrently is in the list twice, which is
harmless.
"""

import random
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from services.jobs.metrics import JOBS
from services.jobs.rules.entities import JobStatus, ListKey, Waiting
from services.jobs.usecases.ports import JobRepository, QueueLists, QueueUnavailable
from services.kit.data.corrupt import understood_by_key
from services.kit.data.transactions.ambient import Transactions
from services.kit.errors import DomainError

log = structlog.get_logger(__name__)

# Jobs that were dispatched a moment ago may not be pushed yet.
_GRACE = timedelta(seconds=2)
# Removing an ID costs Redis a walk through the list; runners pop and skip the others.
_REMOVED_MAX = 100
_PUSHED_MAX = 5000
# When this many lists fail and none succeeds, the lists are not the cause.
_FAILURES_MAX = 5


class Reconciler:
    """The comparison of lists and database.

    Args:
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
        lists: The lists that runners take IDs from.
        window: The largest number of IDs in a list.
        apart: The time after which a missing ID counts as lost.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        jobs: JobRepository,
        lists: QueueLists,
        *,
        window: int,
        apart: timedelta,
    ) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._lists = lists
        self._limit = 4 * window
        self._apart = apart.total_seconds()
        self._known: set[ListKey] | None = None
        # When an ID was first found missing.
        self._missing: dict[ListKey, dict[UUID, float]] = {}
        # Lists whose comparison fails, and was logged.
        self._failing: set[ListKey] = set()

    async def round(self) -> bool:
        """Compare all lists that hold IDs or should; a list that fails delays no other."""
        keys = await self._keys()
        failed: dict[ListKey, Exception] = {}
        # In a new order each time, so that no list is always behind a slow one.
        for compared, key in enumerate(random.sample(keys, len(keys))):
            try:
                await self._reconcile(key)
            except Exception as error:
                failed[key] = error
                if len(failed) == compared + 1 == _FAILURES_MAX:
                    raise
        if failed and len(failed) == len(keys):
            raise next(iter(failed.values()))
        self._report(failed)
        return False

    def _report(self, failed: Mapping[ListKey, Exception]) -> None:
        for key in failed.keys() - self._failing:
            error = failed[key]
            defect = None if isinstance(error, DomainError | QueueUnavailable) else error
            log.error("list_not_compared", **_named(key), error=f"{type(error).__name__}: {error}", exc_info=defect)
        for key in self._failing - failed.keys():
            log.info("list_compared_again", **_named(key))
        self._failing = set(failed)

    async def _keys(self) -> list[ListKey]:
        """Return the lists that jobs were dispatched to, and lists that hold IDs of no dispatched job."""
        async with self.transactions.begin(read_only=True):
            waiting = set(await self._jobs.dispatched_lists())
        if self._known is None:
            # Lists that were filled before this process began.
            self._known = set(await self._lists.names())
        idle = sorted(self._known - waiting)
        lengths = await self._lists.lengths(idle) if idle else {}
        self._known |= waiting
        for key in idle:
            self._missing.pop(key, None)
        return sorted(waiting | {key for key, length in lengths.items() if length})

    async def _reconcile(self, key: ListKey) -> None:
        listed = set(await self._lists.read(key))
        async with self.transactions.begin(read_only=True):
            if not await self._jobs.try_turn(key):
                # Another replica compares it. The last round of this replica is no longer the one before the next.
                self._missing.pop(key, None)
                return
            handed_over = await self._jobs.dispatched(key, _GRACE, self._limit)
            strangers = listed - set(handed_over)
            # Jobs that were dispatched within the grace, or beyond the limit, are no strangers.
            strangers -= await self._jobs.still_dispatched(strangers) if strangers else set()
        now = time.monotonic()
        before = self._missing.get(key, {})
        missing = {job_id: before.get(job_id, now) for job_id in handed_over if job_id not in listed}
        lost = [job_id for job_id, since in missing.items() if now - since >= self._apart][:_PUSHED_MAX]
        if lost:
            await self._push_again(key, lost)
        pushed = set(lost)
        self._missing[key] = {job_id: since for job_id, since in missing.items() if job_id not in pushed}
        if strangers:
            await self._lists.remove(key, list(strangers)[:_REMOVED_MAX])
            JOBS.labels("reconciler", "removed").inc(min(len(strangers), _REMOVED_MAX))

    async def _push_again(self, key: ListKey, lost: list[UUID]) -> None:
        async with self.transactions.begin(read_only=True):
            still = understood_by_key(await self._jobs.get_many(lost))
        waiting = [
            Waiting(job.id, job.queue, job.priority, job.queued_at)
            for job_id in lost
            if (job := still.get(job_id)) is not None
            and job.status is JobStatus.PENDING
            and job.dispatched_at is not None
        ]
        if not waiting:
            return
        await self._lists.push(waiting, first=True)
        JOBS.labels("reconciler", "pushed_again").inc(len(waiting))
        log.info("jobs_pushed_again", **_named(key), jobs=len(waiting))


def _named(key: ListKey) -> dict[str, str]:
    """Return the fields of a log line that name a list."""
    return {"queue": key.queue, "priority": key.priority.name}
