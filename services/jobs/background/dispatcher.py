"""Takes the IDs of waiting jobs to the queue, as many as it is to hold, when their time has come.

PostgreSQL is the truth and the queue a hint. Each list holds a window of IDs: as long as there is room, a submission's
jobs are stored as handed over (`dispatched_at`) and pushed beside the answer; else they are stored as still to be
handed over, and fed to the list later. Paused queues and types, jobs that are to be run later, and a queue that does
not answer are all just "not handed over yet". An ID that is pushed twice is harmless: claims are guarded.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextvars import Context, copy_context
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from services.jobs.background.feeding import Feed
from services.jobs.background.scheduler import Scheduler
from services.jobs.background.window import Window
from services.jobs.metrics import LOST_NOTES
from services.jobs.rules.entities import Backlog, ListKey, NewJob, Waiting
from services.jobs.rules.job_types import JobType
from services.jobs.usecases.ports import Changes, JobRepository, PauseRepository, QueueLists, QueueUnavailable
from services.kit.background import Loop, end, together
from services.kit.data.transactions.ambient import Transactions
from services.kit.errors import DomainError

log = structlog.get_logger(__name__)

_BATCH = 1000
_BACKOFF_SECONDS_MAX = 5.0
# How often the database is asked for what other replicas, also dead ones, have left to be handed over.
_POLL_SECONDS = 2.0
# What waits to be pushed while neither the queue nor the database answers. More is left to the reconciler.
_NOTED_MAX = 50_000
# So many lists are fed at once: each takes a connection to the database.
_FED_AT_ONCE = 2


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
        lists: QueueLists,
        changes: Changes,
        *,
        window: int,
    ) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._pauses = pauses
        self._lists = lists
        self._window = window
        self._noted: dict[bool, list[Waiting]] = {False: [], True: []}
        self._noted_any = asyncio.Event()
        self._feeds: dict[ListKey, Feed] = {}
        self._feeding: list[asyncio.Task[None]] = []
        self._context: Context | None = None
        self._slots = asyncio.Semaphore(_FED_AT_ONCE)
        self._paused_queues: set[str] = set()
        self._paused_types: set[UUID] = set()
        # What is fed apart, because runners have no handler for it.
        self._unserved: set[Backlog] = set()
        self._scheduler = Scheduler(transactions, jobs, changes, self.wake)
        known = (QueueUnavailable,)
        every = timedelta(seconds=_POLL_SECONDS)
        self._pushing = Loop("pushing", self._push, known=known, backoff_seconds_max=_BACKOFF_SECONDS_MAX)
        self._looking = Loop("dispatcher", self._look, every=every, backoff_seconds_max=_BACKOFF_SECONDS_MAX)
        self._reporting = Loop("dispatcher report", self._report, every=every)

    def withheld(self, jobs: Sequence[NewJob], kinds: Mapping[UUID, JobType]) -> set[UUID]:
        """Return which jobs are to be stored as still to be handed over. A claim looks at pauses again."""
        paused = self._paused_types | {kind.id for kind in kinds.values() if kind.paused}
        withheld = {job.id for job in jobs if job.job_type_id in paused} if paused else set()
        if self._unserved:
            withheld.update(job.id for job in jobs if Backlog(job.queue, job.job_type_id) in self._unserved)
        lists: dict[ListKey, list[NewJob]] = defaultdict(list)
        for job in jobs:
            lists[ListKey(job.queue, job.priority)].append(job)
        now = asyncio.get_running_loop().time()
        for key, wanted in lists.items():
            feed = self._feed(key)
            all_of_them = feed.behind or key.queue in self._paused_queues
            beyond = wanted if all_of_them else feed.window.beyond(wanted, now)
            withheld.update(job.id for job in beyond)
        return withheld

    def put(self, jobs: Sequence[Waiting], *, first: bool = False) -> None:
        """Note jobs that were stored as handed over; they are pushed at once, but nobody waits for it."""
        noted = self._noted[first]
        room = max(_NOTED_MAX - len(noted), 0)
        if len(jobs) > room:
            LOST_NOTES.inc(len(jobs) - room)
            log.warning("jobs left to the reconciler", jobs=len(jobs) - room)
        noted.extend(jobs[:room])
        self._noted_any.set()

    def wake(self, *lists: ListKey) -> None:
        """Note that jobs were stored that are still to be handed over; without lists, that this may hold for any."""
        for key in lists:
            self._feed(key).wake()
        if not lists:
            self._looking.woken.set()

    def expect(self, wait: timedelta) -> None:
        """Note that a job is to be handed over after this time."""
        self._scheduler.expect(wait)

    async def run(self) -> None:
        """Push and feed until it is cancelled."""
        loops = (self._pushing, self._looking, self._reporting, self._scheduler.loop)
        self._context = copy_context()
        for feed in self._feeds.values():
            self._begin(feed)
        try:
            await together(*(loop.run() for loop in loops))
        finally:
            self._context = None
            await end(self._feeding)

    async def flush(self) -> None:
        """Push what was noted, once, before the process ends. What fails is found by the reconciler."""
        try:
            await self._push_noted()
        except (QueueUnavailable, DomainError) as error:
            log.warning("queue behind", problem=str(error))

    async def excluded(self, key: ListKey) -> Collection[UUID] | None:
        """Read which job types a list is not to be fed with now; None if it is not to be fed at all."""
        await self._read_pauses()
        if key.queue in self._paused_queues:
            return None
        return self._paused_types | {job_type_id for queue, job_type_id in self._unserved if queue == key.queue}

    def _feed(self, key: ListKey) -> Feed:
        feed = self._feeds.get(key)
        if feed is None:
            window = Window(self._window, asyncio.get_running_loop().time())
            feed = Feed(
                key,
                window,
                self.transactions,
                self._jobs,
                self._lists,
                excluded=self.excluded,
                slots=self._slots,
            )
            self._feeds[key] = feed
            self._begin(feed)
        return feed

    def _begin(self, feed: Feed) -> None:
        """Have a list fed by a task of its own."""
        if self._context is not None:
            # In the context of `run`: whoever needs the list first may be in a transaction.
            self._feeding.append(asyncio.create_task(feed.loop.run(), context=self._context.copy()))

    async def _look(self) -> None:
        """Look at what is still to be handed over, and at what is paused."""
        async with self.transactions.begin(read_only=True):
            left = await self._jobs.withheld_lists()
            await self._read_pauses()
        for key in left:
            self._feed(key).wake()
        for feed in self._feeds.values():
            if feed.window.needs_looks:
                feed.look()

    async def _read_pauses(self) -> None:
        self._paused_queues = await self._pauses.paused_queues()
        self._paused_types = await self._pauses.paused_types()
        self._unserved = await self._pauses.unserved()

    async def _report(self) -> None:
        for feed in self._feeds.values():
            feed.report()

    async def _push(self) -> None:
        await self._noted_any.wait()
        await self._push_noted()
        if not any(self._noted.values()):
            self._noted_any.clear()

    async def _push_noted(self) -> None:
        """Push what was just stored; what the queue does not take is marked in the database instead."""
        for first, noted in self._noted.items():
            while batch := noted[:_BATCH]:
                try:
                    lengths = await self._lists.push(batch, first=first)
                except QueueUnavailable:
                    await self._withhold(noted)
                    raise
                refused = self._pushed(batch, lengths)
                del noted[: len(batch)]
                await self._withhold(refused)

    def _pushed(self, batch: Sequence[Waiting], lengths: Mapping[ListKey, int]) -> list[Waiting]:
        """Note how long lists are now; return what was refused by its list."""
        now = asyncio.get_running_loop().time()
        by_list: dict[ListKey, list[Waiting]] = defaultdict(list)
        for waiting in batch:
            by_list[waiting.list].append(waiting)
        for key, length in lengths.items():
            self._feed(key).window.pushed(len(by_list.pop(key)), length, now)
        return [waiting for refused in by_list.values() for waiting in refused]

    async def _withhold(self, noted: list[Waiting]) -> None:
        while batch := noted[:_BATCH]:
            async with self.transactions.begin():
                await self._jobs.withhold([waiting.id for waiting in batch])
            self.wake(*{waiting.list for waiting in batch})
            del noted[: len(batch)]
