"""Compares the lists in Redis with the jobs that were handed over to them, and mends what differs.

The lists are short, so the comparison is exact. An ID that is missing in two rounds was lost between commit, push, pop
and claim, or with all that Redis held: it is pushed again, to be taken next. An ID that is no such job is removed.
Redis is read first: whatever is in a list was committed before, so the database knows it.

One replica at a time compares a list: the turn is a lock of the one short transaction in which the database is read. So
it takes no connection beside another one, and who freezes in it loses it when the database ends the transaction
(`idle_in_transaction_timeout_seconds`). What two replicas push at once is twice in the list, which is harmless.
"""

import random
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog

from services.jobs.metrics import JOBS
from services.jobs.rules.entities import JobStatus, ListKey, Waiting
from services.jobs.usecases.ports import JobRepository, QueueLists, QueueUnavailable
from services.kit.data.corrupt import understood_by_key
from services.kit.data.transactions.ambient import Transactions
from services.kit.errors import DomainError

log = structlog.get_logger(__name__)

# What was handed over just now may still be on its way.
_GRACE = timedelta(seconds=2)
# Removing an ID costs Redis a walk through the list; the others are popped and passed by.
_REMOVED_MAX = 100
_PUSHED_MAX = 5000
# When so many lists have failed and none has not, it is not the lists.
_FAILURES_MAX = 5


class Reconciler:
    """Looks at every list, again and again.

    Args:
        transactions: Where they begin.
        jobs: The stored jobs.
        lists: Where runners take IDs from.
        window: How many IDs a list is to hold at most.
        apart: How long it takes until a missing ID counts as lost.
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
        self._missing: dict[ListKey, dict[Any, float]] = {}
        # Lists that could not be looked at, and were logged.
        self._failing: set[ListKey] = set()

    async def round(self) -> bool:
        """Look at all lists that jobs wait in or that hold something; one that can't be looked at hinders no other."""
        keys = await self._keys()
        failed: dict[ListKey, Exception] = {}
        # In another order each time, so that none is always behind one that takes long.
        for looked_at, key in enumerate(random.sample(keys, len(keys))):
            try:
                await self._reconcile(key)
            except Exception as error:
                failed[key] = error
                if len(failed) == looked_at + 1 == _FAILURES_MAX:
                    raise
        if failed and len(failed) == len(keys):
            raise next(iter(failed.values()))
        self._report(failed)
        return False

    def _report(self, failed: Mapping[ListKey, Exception]) -> None:
        for key in failed.keys() - self._failing:
            error = failed[key]
            defect = None if isinstance(error, DomainError | QueueUnavailable) else error
            problem = f"{type(error).__name__}: {error}"
            log.error("list not compared", **_named(key), problem=problem, exc_info=defect)
        for key in self._failing - failed.keys():
            log.info("list compared again", **_named(key))
        self._failing = set(failed)

    async def _keys(self) -> list[ListKey]:
        """The lists that jobs wait in, and those that hold something though no job waits in them."""
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
        return sorted(waiting | {key for key, length in lengths.items() if length})

    async def _reconcile(self, key: ListKey) -> None:
        listed = set(await self._lists.read(key))
        async with self.transactions.begin(read_only=True):
            if not await self._jobs.try_turn(key):
                # Another replica is at it. What this one saw last is not the round before the next.
                self._missing.pop(key, None)
                return
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
        if not waiting:
            return
        await self._lists.push(waiting, first=True)
        JOBS.labels("reconciler", "pushed_again").inc(len(waiting))
        log.info("jobs pushed again", **_named(key), jobs=len(waiting))


def _named(key: ListKey) -> dict[str, str]:
    """A list in a log line."""
    return {"queue": key.queue, "priority": key.priority.name}
