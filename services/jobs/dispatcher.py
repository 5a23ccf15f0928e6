"""Takes the IDs of waiting jobs to the queue, and makes up for what could not be taken there.

PostgreSQL is the truth and the queue a hint: a push that fails is noted in the job's row (`dispatched_at` is null) and
made up for when the queue is back. At start all waiting jobs are pushed again, because a push may have been lost with
the process that should have made it. An ID that is pushed twice is harmless: claims are guarded.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import structlog

from services.jobs.repository import JobRepository, Waiting
from services.kit.data.transactions import Transactions
from services.kit.errors import DomainError

log = structlog.get_logger(__name__)

_BATCH = 1000
_BACKOFF_MIN = 0.2
_BACKOFF_MAX = 5.0


class QueueUnavailable(Exception):
    """The queue did not take the IDs, or did not say so in time."""


class Lists(Protocol):
    """The lists that runners take IDs from."""

    async def push(self, jobs: Sequence[Waiting]) -> None:
        """Adds jobs, each to the list of its queue and priority, in this order.

        Raises:
            QueueUnavailable: If it is not known that all were added.
        """
        ...


class Dispatcher:
    """The way from the database to the queue. `run` does the work; `put` only leaves it a note.

    Args:
        transactions: Where they begin.
        jobs: The stored jobs.
        lists: Where runners take IDs from.
    """

    def __init__(self, transactions: Transactions[Any], jobs: JobRepository, lists: Lists) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._lists = lists
        self._noted: list[Waiting] = []
        self._wake = asyncio.Event()
        # What a former process left: jobs whose push may be lost, and jobs marked as withheld.
        self._repushed_to: Waiting | None = None
        self._repushed = False
        self._withheld = True

    def put(self, jobs: Sequence[Waiting]) -> None:
        """Notes jobs that were stored as handed over; they are pushed at once, but nobody waits for it."""
        self._noted.extend(jobs)
        self._wake.set()

    async def run(self) -> None:
        """Pushes until it is cancelled. A failure is logged when it begins and when it is made up for."""
        backoff_seconds = 0.0
        while True:
            self._wake.clear()
            try:
                await self._push_noted()
                await self._push_again()
                await self._push_withheld()
            except (QueueUnavailable, DomainError) as error:
                if not backoff_seconds:
                    log.warning("queue behind", problem=str(error))
                backoff_seconds = min(max(2 * backoff_seconds, _BACKOFF_MIN), _BACKOFF_MAX)
                await asyncio.sleep(backoff_seconds)
                continue
            if backoff_seconds:
                log.info("queue caught up")
                backoff_seconds = 0.0
            await self._wake.wait()

    async def flush(self) -> None:
        """Pushes what was noted, once, before the process ends. What fails is pushed by the next start."""
        try:
            await self._push_noted()
        except (QueueUnavailable, DomainError) as error:
            log.warning("queue behind", problem=str(error))

    async def _push_noted(self) -> None:
        """Pushes what was just stored; what the queue does not take is marked in the database instead."""
        while batch := self._noted[:_BATCH]:
            try:
                await self._lists.push(batch)
            except QueueUnavailable:
                await self._withhold()
                raise
            del self._noted[: len(batch)]

    async def _withhold(self) -> None:
        self._withheld = True
        while batch := self._noted[:_BATCH]:
            async with self.transactions.begin():
                await self._jobs.withhold([waiting.id for waiting in batch])
            del self._noted[: len(batch)]

    async def _push_again(self) -> None:
        """Pushes, once after the start, all that waits, oldest first in each list."""
        while not self._repushed:
            async with self.transactions.begin():
                waiting = await self._jobs.waiting_after(self._repushed_to, _BATCH)
            if waiting:
                await self._lists.push(waiting)
                self._repushed_to = waiting[-1]
            self._repushed = len(waiting) < _BATCH

    async def _push_withheld(self) -> None:
        """Pushes what the queue did not take before, highest priority first."""
        while self._withheld:
            async with self.transactions.begin():
                taken = await self._jobs.take_undispatched(_BATCH)
            self._withheld = len(taken) == _BATCH
            self._noted[:0] = taken
            await self._push_noted()
