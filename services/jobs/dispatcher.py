"""Takes the IDs of waiting jobs to the queue, as many as it is to hold, when their time has come.

PostgreSQL is the truth and the queue a hint. Each list holds a window of IDs: as long as there is room, a submission's
jobs are stored as handed over (`dispatched_at`) and pushed beside the answer; else they are stored as still to be
handed over, and fed to the list later. Paused queues and types, jobs that are to be run later, and a queue that does
not answer are all just "not handed over yet". An ID that is pushed twice is harmless: claims are guarded.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

import structlog

from services.jobs.domain import ListKey, Waiting
from services.jobs.job_types import JobType
from services.jobs.metrics import JOBS
from services.jobs.ports import Changes
from services.jobs.repository import JobRepository, Lane, PauseRepository
from services.kit.background import together
from services.kit.data.transactions import Transactions
from services.kit.errors import DomainError

log = structlog.get_logger(__name__)

_BATCH = 1000
_BACKOFF_MIN = 0.2
_BACKOFF_MAX = 5.0
# How often the database is asked for what other replicas, also dead ones, have left to be handed over.
_POLL_SECONDS = 2.0
# How often a full list is looked at that more jobs wait for.
_FULL_POLL_SECONDS = 0.2
_DUE_POLL_SECONDS = 0.02
# Finding out that all jobs of a list are of paused types takes a look at each. Who resumes one wakes its replica.
_PAUSED_POLL_SECONDS = 15.0
# A list is fed when so much of its window is free: feeding single IDs would cost a statement each.
_ROOM_MIN = 0.1


class QueueUnavailable(Exception):
    """The queue did not take the IDs, or did not say so in time."""


class Lists(Protocol):
    """The lists that runners take IDs from."""

    async def push(self, jobs: Sequence[Waiting], *, first: bool = False) -> Mapping[ListKey, int]:
        """Adds jobs, each to the list of its queue and priority, in this order; `first` for before all others.

        Returns:
            How long the lists are now.

        Raises:
            QueueUnavailable: If it is not known that all were added.
        """
        ...

    async def lengths(self, keys: Sequence[ListKey]) -> Mapping[ListKey, int]:
        """Answers how long lists are.

        Raises:
            QueueUnavailable: If there was no answer.
        """
        ...

    async def names(self) -> list[ListKey]:
        """Answers all lists that hold anything, also those that no job waits in.

        Raises:
            QueueUnavailable: If there was no answer.
        """
        ...

    async def read(self, key: ListKey) -> list[UUID]:
        """Answers all IDs of a list; what is no ID is left out.

        Raises:
            QueueUnavailable: If there was no answer.
        """
        ...

    async def remove(self, key: ListKey, job_ids: Collection[UUID]) -> None:
        """Removes IDs from a list.

        Raises:
            QueueUnavailable: If it is not known that all were removed.
        """
        ...


class Dispatcher:
    """The way from the database to the queue. `run` does the work; all else only leaves it a note.

    Args:
        transactions: Where they begin.
        jobs: The stored jobs.
        pauses: What is paused.
        lists: Where runners take IDs from.
        changes: Is told of jobs whose time has come.
        window: How many IDs a list is to hold at most.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        jobs: JobRepository,
        pauses: PauseRepository,
        lists: Lists,
        changes: Changes,
        *,
        window: int,
    ) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._pauses = pauses
        self._lists = lists
        self._changes = changes
        self._window = window
        self._noted: dict[bool, list[Waiting]] = {False: [], True: []}
        self._noted_any = asyncio.Event()
        self._left_any = asyncio.Event()
        self._lengths: dict[ListKey, int] = {}
        # Lists that jobs are still to be handed to: newer ones must not overtake them.
        self._behind: set[ListKey] = set()
        self._paused_queues: set[str] = set()
        self._paused_types: set[UUID] = set()
        self._due_at: float | None = None
        # Whose turn is next in a list that has more lanes than have had theirs.
        self._next_lanes: dict[ListKey, Lane] = {}
        # When lists are looked at again in which nothing but jobs of paused types was left.
        self._paused_until: dict[ListKey, float] = {}

    def withholds(self, wanted: ListKey, job_type: JobType) -> bool:
        """Whether a job is to be stored as still to be handed over. A claim looks at pauses again."""
        return (
            wanted in self._behind
            or self._lengths.get(wanted, 0) >= self._window
            or wanted.queue in self._paused_queues
            or job_type.paused
            or job_type.id in self._paused_types
        )

    def put(self, jobs: Sequence[Waiting], *, first: bool = False) -> None:
        """Notes jobs that were stored as handed over; they are pushed at once, but nobody waits for it."""
        self._noted[first].extend(jobs)
        self._noted_any.set()

    def wake(self, *lists: ListKey) -> None:
        """Notes that jobs were stored that are still to be handed over; without lists, that this may hold for any."""
        self._behind.update(lists)
        for key in lists or tuple(self._paused_until):
            self._paused_until.pop(key, None)
        self._left_any.set()

    def expect(self, wait: timedelta) -> None:
        """Notes that a job is to be handed over after this time."""
        due_at = asyncio.get_running_loop().time() + wait.total_seconds()
        if self._due_at is None or due_at < self._due_at:
            self._due_at = due_at
            self._left_any.set()

    async def run(self) -> None:
        """Pushes and feeds until it is cancelled."""
        await together(_again_and_again("push", self._push), _again_and_again("feed", self._feed))

    async def flush(self) -> None:
        """Pushes what was noted, once, before the process ends. What fails is found by the reconciler."""
        try:
            await self._push_noted()
        except (QueueUnavailable, DomainError) as error:
            log.warning("queue behind", problem=str(error))

    async def _push(self) -> None:
        await self._noted_any.wait()
        self._noted_any.clear()
        await self._push_noted()

    async def _push_noted(self) -> None:
        """Pushes what was just stored; what the queue does not take is marked in the database instead."""
        for first, noted in self._noted.items():
            while batch := noted[:_BATCH]:
                try:
                    self._lengths.update(await self._lists.push(batch, first=first))
                except QueueUnavailable:
                    self._noted_any.set()
                    await self._withhold(noted)
                    raise
                del noted[: len(batch)]

    async def _withhold(self, noted: list[Waiting]) -> None:
        while batch := noted[:_BATCH]:
            async with self.transactions.begin():
                await self._jobs.withhold([waiting.id for waiting in batch])
            self.wake(*(waiting.list for waiting in batch))
            del noted[: len(batch)]

    async def _feed(self) -> None:
        """Hands over what is still to be handed over, as far as there is room; then waits for more of it."""
        self._left_any.clear()
        loop = asyncio.get_running_loop()
        async with self.transactions.begin():
            released = await self._jobs.release_scheduled(_BATCH)
            self.transactions.after_commit(lambda: self._changes.put(released))
            next_due = await self._jobs.next_scheduled()
            behind = await self._jobs.withheld_lists()
            self._paused_queues = await self._pauses.paused_queues()
            self._paused_types = await self._pauses.paused_types()
        if released:
            JOBS.labels("scheduler", "released").inc(len(released))
            self._paused_until.clear()
        behind = [key for key in behind if self._paused_until.get(key, 0.0) <= loop.time()]
        self._behind = set(behind)
        # One that is due already is in the hands of another replica.
        self._due_at = None if next_due is None else loop.time() + max(next_due.total_seconds(), _DUE_POLL_SECONDS)
        waits = await self._feed_lists(behind)
        if len(released) == _BATCH:
            return
        until = loop.time() + _POLL_SECONDS if self._due_at is None else min(loop.time() + _POLL_SECONDS, self._due_at)
        if waits:
            # Submissions go on noting that jobs are left while a list is full: that is known.
            await asyncio.sleep(_FULL_POLL_SECONDS)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._left_any.wait()

    async def _feed_lists(self, behind: Sequence[ListKey]) -> bool:
        """Feeds lists; answers whether one of them is full and more jobs wait for it."""
        if not behind:
            return False
        self._lengths.update(await self._lists.lengths(behind))
        waits = False
        for key in behind:
            room = self._window - self._lengths[key]
            while room >= max(1, self._window * _ROOM_MIN):
                taken = await self._take(key, min(room, _BATCH))
                if not taken:
                    # All that is left is paused. From now on jobs are handed over at once again: as long as they are
                    # not, each submission leaves something behind.
                    self._behind.discard(key)
                    if self._paused_types:
                        self._paused_until[key] = asyncio.get_running_loop().time() + _PAUSED_POLL_SECONDS
                    break
                await self._hand_over(taken)
                JOBS.labels("dispatcher", "handed_over").inc(len(taken))
                room -= len(taken)
            else:
                waits = True
        return waits

    async def _take(self, key: ListKey, limit: int) -> Sequence[Waiting]:
        """Takes the turns that are next in a list; none only if nobody has any."""
        while True:
            first = self._next_lanes.pop(key, None)
            async with self.transactions.begin():
                turns = await self._jobs.take_withheld(key, limit, first=first, excluded=self.excluded(key))
            if turns.following is not None:
                self._next_lanes[key] = turns.following
            if turns.jobs or (first is None and turns.following is None):
                return turns.jobs

    def excluded(self, key: ListKey) -> Collection[UUID]:
        """The job types that a list is not to be fed with now."""
        return self._paused_types

    async def _hand_over(self, taken: Sequence[Waiting]) -> None:
        try:
            self._lengths.update(await self._lists.push(taken))
        except QueueUnavailable:
            async with self.transactions.begin():
                await self._jobs.withhold([waiting.id for waiting in taken])
            raise


async def _again_and_again(name: str, work: Any) -> None:
    """Works until it is cancelled. A failure is logged when it begins and when it is made up for."""
    backoff_seconds = 0.0
    while True:
        try:
            await work()
        except (QueueUnavailable, DomainError) as error:
            if not backoff_seconds:
                log.warning("queue behind", work=name, problem=str(error))
            backoff_seconds = min(max(2 * backoff_seconds, _BACKOFF_MIN), _BACKOFF_MAX)
            await asyncio.sleep(backoff_seconds)
            continue
        if backoff_seconds:
            log.info("queue caught up", work=name)
            backoff_seconds = 0.0
