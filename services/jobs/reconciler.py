"""Compares the lists in Redis with the jobs that were handed over to them, and mends what differs.

The lists are short, so the comparison is exact. An ID that is missing in two rounds was lost between commit, push, pop
and claim, or with all that Redis held: it is pushed again, to be taken next. An ID that is no such job is removed.
Redis is read first: whatever is in a list was committed before, so the database knows it.
"""

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

import structlog

from services.jobs.dispatcher import Lists
from services.jobs.domain import JobStatus, ListKey, Waiting
from services.jobs.metrics import JOBS
from services.jobs.repository import JobRepository
from services.kit.data.corrupt import understood_by_key
from services.kit.data.transactions import Transactions

log = structlog.get_logger(__name__)

# What was handed over just now may still be on its way.
_GRACE = timedelta(seconds=2)
# Removing an ID costs Redis a walk through the list; the others are popped and passed by.
_REMOVED_MAX = 100
_PUSHED_MAX = 5000

#: Makes sure that one replica at a time looks at a list; yields whether it is this one.
Turn = Callable[[ListKey], AbstractAsyncContextManager[bool]]


class Reconciler:
    """Looks at every list, again and again.

    Args:
        transactions: Where they begin.
        jobs: The stored jobs.
        lists: Where runners take IDs from.
        turn: Makes sure that replicas do not look at a list at once.
        window: How many IDs a list is to hold at most.
        apart: How long it takes until a missing ID counts as lost.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        jobs: JobRepository,
        lists: Lists,
        turn: Turn,
        *,
        window: int,
        apart: timedelta,
    ) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._lists = lists
        self._turn = turn
        self._limit = 4 * window
        self._apart = apart.total_seconds()
        self._known: set[ListKey] | None = None
        # When an ID was first found missing.
        self._missing: dict[ListKey, dict[Any, float]] = {}

    async def round(self) -> bool:
        """Looks at the lists that jobs wait in, and at those that hold something though no job waits in them."""
        async with self.transactions.begin(read_only=True):
            waiting = set(await self._jobs.handed_over_lists())
        if self._known is None:
            # What others have left before this process began.
            self._known = set(await self._lists.names())
        idle = sorted(self._known - waiting)
        lengths = await self._lists.lengths(idle) if idle else {}
        self._known |= waiting
        for key in idle:
            self._missing.pop(key, None)
        for key in sorted(waiting | {key for key, length in lengths.items() if length}):
            async with self._turn(key) as mine:
                if mine:
                    await self._reconcile(key)
                else:
                    # What this replica saw last is not the round before the next.
                    self._missing.pop(key, None)
        return False

    async def _reconcile(self, key: ListKey) -> None:
        listed = set(await self._lists.read(key))
        async with self.transactions.begin(read_only=True):
            handed_over = await self._jobs.handed_over(key, _GRACE, self._limit)
            strangers = listed - set(handed_over)
            # What was handed over within the grace, or beyond the limit, is none.
            strangers -= await self._jobs.still_handed_over(strangers) if strangers else set()
        now = time.monotonic()
        before = self._missing.get(key, {})
        missing = {job_id: before.get(job_id, now) for job_id in handed_over if job_id not in listed}
        lost = [job_id for job_id, since in missing.items() if now - since >= self._apart][:_PUSHED_MAX]
        if lost:
            await self._push_again(key, lost)
        self._missing[key] = {job_id: since for job_id, since in missing.items() if job_id not in set(lost)}
        if strangers:
            await self._lists.remove(key, list(strangers)[:_REMOVED_MAX])
            JOBS.labels("reconciler", "removed").inc(min(len(strangers), _REMOVED_MAX))

    async def _push_again(self, key: ListKey, lost: list[Any]) -> None:
        async with self.transactions.begin(read_only=True):
            still = understood_by_key(await self._jobs.get_many(lost))
        waiting = [
            Waiting(job.id, job.queue, job.priority, job.queued_at)
            for job_id in lost
            if (job := still.get(job_id)) is not None
            and job.status is JobStatus.PENDING
            and job.dispatched_at is not None
        ]
        await self._lists.push(waiting, first=True)
        JOBS.labels("reconciler", "pushed_again").inc(len(waiting))
        log.info("jobs pushed again", queue=key.queue, priority=key.priority.name, jobs=len(waiting))
