"""Feeds one list with withheld jobs, customer by customer in turns, as the list is emptied."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any
from uuid import UUID

import structlog

from services.jobs.background.window import Window
from services.jobs.metrics import JOBS, STALLED
from services.jobs.rules.entities import Lane, ListKey, Waiting
from services.jobs.usecases.ports import JobRepository, QueueLists, QueueUnavailable
from services.kit.background import Loop
from services.kit.data.transactions.ambient import Transactions

log = structlog.get_logger(__name__)

_BATCH = 1000
_BACKOFF_SECONDS_MAX = 5.0
# While a list has room, only a defect keeps jobs waiting for this long.
_STALLED_SECONDS = 30.0


class Feed:
    """The feed of one list. Each list has its own, so that a list that fails or is slow delays no other.

    Args:
        key: The list.
        window: Decides how many IDs the list holds.
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
        lists: The lists that runners take IDs from.
        excluded: Returns, in a transaction, the job types that the list is not fed with now; None to feed nothing.
        slots: Bounds how many lists are fed concurrently.

    Attributes:
        behind: Whether some jobs are withheld: newer jobs must not overtake them.
    """

    def __init__(
        self,
        key: ListKey,
        window: Window,
        transactions: Transactions[Any],
        jobs: JobRepository,
        lists: QueueLists,
        *,
        excluded: Callable[[ListKey], Awaitable[Collection[UUID] | None]],
        slots: asyncio.Semaphore,
    ) -> None:
        self.key = key
        self.window = window
        self.behind = False
        self.transactions = transactions
        self._jobs = jobs
        self._lists = lists
        self._excluded = excluded
        self._slots = slots
        self._woken = asyncio.Event()
        self._next: Lane | None = None
        self._fed = False
        self._moved_at: float | None = None
        self._is_stalled = False
        name = f"feeding {key.queue} {key.priority.name}"
        self.loop = Loop(name, self._round, known=(QueueUnavailable,), backoff_seconds_max=_BACKOFF_SECONDS_MAX)

    def wake(self) -> None:
        """Note that withheld jobs were stored."""
        self.behind = True
        self.look()

    def look(self) -> None:
        """Note that the list needs a look."""
        self._woken.set()

    async def _round(self) -> None:
        """Top the list up; then wait until the list has room, or more jobs are withheld."""
        await self._woken.wait()
        self._woken.clear()
        if self._moved_at is None:
            self._moved_at = _now()
        try:
            self.behind = await self._feed(await self._length())
        except BaseException:
            self.wake()
            raise
        if self.behind:
            self.look()
            await asyncio.sleep(self.window.pause_seconds())
        else:
            # From now on jobs are dispatched immediately again. Until now each submission withheld some jobs, and
            # called `wake`.
            self._moved_at, self._fed = None, False

    async def _feed(self, length: int) -> bool:
        """Bring the list to its target length; return whether more jobs may be withheld."""
        self.window.saw(length, _now())
        if not length and self._fed:
            self.window.starved()
        if excess := self.window.excess(length, _now()):
            length -= await self._take_back(excess)
            self.behind = True
        return await self._top_up(length)

    async def _length(self) -> int:
        lengths = await self._lists.lengths([self.key])
        if self.key not in lengths:
            raise QueueUnavailable("the list cannot be used")
        return lengths[self.key]

    async def _take_back(self, excess: int) -> int:
        """Shorten a list that holds more jobs than are run soon, so that customers have turns; return by how much."""
        taken = await self._lists.take_back(self.key, excess)
        for start in range(0, len(taken), _BATCH):
            async with self.transactions.begin():
                await self._jobs.withhold(taken[start : start + _BATCH])
        self.window.taken_back(len(taken))
        JOBS.labels("dispatcher", "taken_back").inc(len(taken))
        return len(taken)

    async def _top_up(self, length: int) -> bool:
        """Feed the list while it has room; return whether more jobs may be withheld.

        Without room the database is not asked, and `behind` stays as it is.
        """
        while room := self.window.room(length):
            first, self._next = self._next, None
            async with self._slots, self.transactions.begin():
                excluded = await self._excluded(self.key)
                if excluded is None:
                    return False
                turns = await self._jobs.take_withheld(self.key, min(room, _BATCH), first=first, excluded=excluded)
            self._next = turns.following
            if turns.jobs:
                length = await self._dispatch(turns.jobs)
            elif turns.lanes:
                # Another replica holds the lock of the remaining jobs.
                return True
            elif first is None:
                return False
        self._moved_at = _now()
        return self.behind

    async def _dispatch(self, taken: Sequence[Waiting]) -> int:
        try:
            lengths = await self._lists.push(taken)
            if self.key not in lengths:
                raise QueueUnavailable("the list cannot be used")
        except QueueUnavailable:
            async with self.transactions.begin():
                await self._jobs.withhold([waiting.id for waiting in taken])
            raise
        self.window.pushed(len(taken), lengths[self.key], _now())
        self.behind = self._fed = True
        self._moved_at = _now()
        JOBS.labels("dispatcher", "handed_over").inc(len(taken))
        return lengths[self.key]

    def report(self) -> None:
        """Export how long jobs have waited although the list has room, and log when that is a sign of trouble."""
        seconds = 0.0 if self._moved_at is None else _now() - self._moved_at
        STALLED.labels(self.key.queue, self.key.priority.name).set(seconds)
        stalled = seconds >= _STALLED_SECONDS
        if stalled != self._is_stalled:
            write = log.error if stalled else log.info
            write(
                "feed_stalled" if stalled else "feed_resumed",
                queue=self.key.queue,
                priority=self.key.priority.name,
                seconds=round(seconds),
            )
        self._is_stalled = stalled


def _now() -> float:
    return asyncio.get_running_loop().time()
