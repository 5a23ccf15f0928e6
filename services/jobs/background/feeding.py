"""Hands over to one list what is still to be handed over, in turns, as the list is emptied."""

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
# Nobody waits for so long while there is room, unless something is wrong.
_STALLED_SECONDS = 30.0


class Feed:
    """Feeds one list. Each list has its own, so that one that fails or is slow keeps no other waiting.

    Args:
        key: The list.
        window: How much it is to hold.
        transactions: Where they begin.
        jobs: The stored jobs.
        lists: Where runners take IDs from.
        excluded: Tells, in a transaction, the job types that a list is not to be fed with now; None for nothing at all.
        slots: Bounds how many lists are fed at once.

    Attributes:
        behind: Whether jobs are still to be handed over: newer ones must not overtake them.
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
        self._told = asyncio.Event()
        self._next: Lane | None = None
        self._fed = False
        self._moved_at: float | None = None
        self._is_stalled = False
        name = f"feeding {key.queue} {key.priority.name}"
        self.loop = Loop(name, self._round, known=(QueueUnavailable,), backoff_seconds_max=_BACKOFF_SECONDS_MAX)

    def wake(self) -> None:
        """Note that jobs were stored that are still to be handed over."""
        self.behind = True
        self.look()

    def look(self) -> None:
        """Note that the list is to be looked at."""
        self._told.set()

    async def _round(self) -> None:
        """Top the list up; then wait until there is room, or more to hand over."""
        await self._told.wait()
        self._told.clear()
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
            # From now on jobs are handed over at once again: as long as they are not, each submission leaves something
            # behind. Whoever stored one meanwhile has told so.
            self._moved_at, self._fed = None, False

    async def _feed(self, length: int) -> bool:
        """Bring the list to its length; return whether more may be left."""
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
            raise QueueUnavailable("the list can't be used")
        return lengths[self.key]

    async def _take_back(self, excess: int) -> int:
        """Shorten a list that holds more than is run soon, so that there are turns; return by how much."""
        taken = await self._lists.take_back(self.key, excess)
        for start in range(0, len(taken), _BATCH):
            async with self.transactions.begin():
                await self._jobs.withhold(taken[start : start + _BATCH])
        self.window.taken_back(len(taken))
        JOBS.labels("dispatcher", "taken_back").inc(len(taken))
        return len(taken)

    async def _top_up(self, length: int) -> bool:
        """Feed the list as far as there is room; return whether more may be left. Without room that is not asked."""
        while room := self.window.room(length):
            first, self._next = self._next, None
            async with self._slots, self.transactions.begin():
                excluded = await self._excluded(self.key)
                if excluded is None:
                    return False
                turns = await self._jobs.take_withheld(self.key, min(room, _BATCH), first=first, excluded=excluded)
            self._next = turns.following
            if turns.jobs:
                length = await self._hand_over(turns.jobs)
            elif turns.lanes:
                # Somebody else is at them.
                return True
            elif first is None:
                return False
        self._moved_at = _now()
        return self.behind

    async def _hand_over(self, taken: Sequence[Waiting]) -> int:
        try:
            lengths = await self._lists.push(taken)
            if self.key not in lengths:
                raise QueueUnavailable("the list can't be used")
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
        """Show for how long jobs have waited although there is room, and log when that is a sign of trouble."""
        seconds = 0.0 if self._moved_at is None else _now() - self._moved_at
        STALLED.labels(self.key.queue, self.key.priority.name).set(seconds)
        stalled = seconds >= _STALLED_SECONDS
        if stalled != self._is_stalled:
            tell = log.error if stalled else log.info
            tell(
                "jobs wait although their list has room" if stalled else "jobs are handed over again",
                queue=self.key.queue,
                priority=self.key.priority.name,
                seconds=round(seconds),
            )
        self._is_stalled = stalled


def _now() -> float:
    return asyncio.get_running_loop().time()
