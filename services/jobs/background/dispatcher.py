"""Dispatches jobs: pushes the IDs of waiting jobs to the lists that runners take them from.

PostgreSQL is the truth and the lists are a hint. Each list holds a window of IDs. While a list has room, submitted jobs
are stored as dispatched (`dispatched_at`) and pushed beside the response; otherwise they are stored as withheld, and
fed to the list later. Paused queues and types, scheduled jobs, and an unavailable Redis all mean the same: not
dispatched yet. An ID that is pushed twice is harmless, because claims are guarded.
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
# The interval of looking for jobs that other replicas, also dead ones, have withheld.
_POLL_SECONDS = 2.0
# How many jobs wait to be pushed while neither Redis nor the database responds. More are left to the reconciler.
_NOTED_MAX = 50_000
# How many lists are fed concurrently: each takes a connection to the database.
_CONCURRENT_FEEDS = 2


class Dispatcher:
    """The way of jobs from the database to the lists. `run` does the work; all other methods leave it a note.

    Args:
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
        pauses: The paused queues and job types.
        lists: The lists that runners take IDs from.
        changes: Notified of scheduled jobs that have become due.
        window: The largest number of IDs in a list.
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
        self._slots = asyncio.Semaphore(_CONCURRENT_FEEDS)
        self._paused_queues: set[str] = set()
        self._paused_types: set[UUID] = set()
        # Backlogs of jobs for which runners lack the handler: `UnservedJobs` feeds them.
        self._unserved: set[Backlog] = set()
        self._scheduler = Scheduler(transactions, jobs, changes, self.wake)
        known = (QueueUnavailable,)
        every = timedelta(seconds=_POLL_SECONDS)
        self._pushing = Loop("pushing", self._push, known=known, backoff_seconds_max=_BACKOFF_SECONDS_MAX)
        self._looking = Loop("dispatcher", self._look, every=every, backoff_seconds_max=_BACKOFF_SECONDS_MAX)
        self._reporting = Loop("dispatcher report", self._report, every=every)

    def withheld(self, jobs: Sequence[NewJob], kinds: Mapping[UUID, JobType]) -> set[UUID]:
        """Return the jobs that are to be stored as not dispatched yet. A claim checks pauses once more."""
        paused = self._paused_types | {kind.id for kind in kinds.values() if kind.paused}
        withheld = {job.id for job in jobs if job.job_type_id in paused} if paused else set()
        if self._unserved:
            withheld.update(job.id for job in jobs if Backlog(job.queue, job.job_type_id) in self._unserved)
        lists: dict[ListKey, list[NewJob]] = defaultdict(list)
        for job in jobs:
            lists[ListKey(job.queue, job.priority)].append(job)
        now = asyncio.get_running_loop().time()
        for key, new in lists.items():
            feed = self._feed(key)
            all_of_them = feed.behind or key.queue in self._paused_queues
            beyond = new if all_of_them else feed.window.beyond(new, now)
            withheld.update(job.id for job in beyond)
        return withheld

    def put(self, jobs: Sequence[Waiting], *, first: bool = False) -> None:
        """Note jobs that were stored as dispatched; they are pushed soon, and the caller does not wait."""
        noted = self._noted[first]
        room = max(_NOTED_MAX - len(noted), 0)
        if len(jobs) > room:
            LOST_NOTES.inc(len(jobs) - room)
            log.warning("jobs_left_to_reconciler", jobs=len(jobs) - room)
        noted.extend(jobs[:room])
        self._noted_any.set()

    def wake(self, *lists: ListKey) -> None:
        """Note that withheld jobs were stored; without arguments, that any list may have some."""
        for key in lists:
            self._feed(key).wake()
        if not lists:
            self._looking.woken.set()

    def expect(self, wait: timedelta) -> None:
        """Note that a job becomes due after this time."""
        self._scheduler.expect(wait)

    async def run(self) -> None:
        """Push and feed until the task is cancelled."""
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
        """Push the noted jobs once, before the process ends. Jobs that cannot be pushed are left to the reconciler."""
        try:
            await self._push_noted()
        except (QueueUnavailable, DomainError) as error:
            log.warning("queue_behind", error=str(error))

    async def excluded(self, key: ListKey) -> Collection[UUID] | None:
        """Return the job types that a list is not fed with now; None if the list is not fed at all."""
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
        """Feed a list in a task of its own."""
        if self._context is not None:
            # In the context of `run`: the caller that needs the list first may be in a transaction.
            self._feeding.append(asyncio.create_task(feed.loop.run(), context=self._context.copy()))

    async def _look(self) -> None:
        """Read which lists have withheld jobs, and what is paused."""
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
        """Push the jobs that were just stored; jobs that cannot be pushed are withheld instead."""
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
        """Note the present lengths of the lists; return the jobs whose list refused them."""
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
