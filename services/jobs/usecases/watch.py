"""Tells watchers of jobs what becomes of them.

A change in this process is told at once, one in another process when its message comes. Because messages may be lost,
the versions of all watched jobs are compared every second: one statement, however many watchers there are.
"""

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterable
from contextlib import suppress
from time import monotonic
from typing import Any
from uuid import UUID

import redis.asyncio as redis

from services.jobs.rules.entities import Job, is_at_rest
from services.jobs.rules.errors import JobNotFound
from services.jobs.usecases.ports import JobRepository
from services.kit.background import Loop, together
from services.kit.data.transactions.ambient import Transactions
from services.kit.errors import DataCorrupt, DomainError, Draining
from services.kit.redis.failures import REDIS_FAILURES
from services.kit.redis.pubsub import Subscription

_CHANNEL = "jobs:changes"
_COMPARE_SECONDS = 1.0
_ID_BYTES = 16
_PENDING_MAX = 10_000
_BACKOFF_SECONDS_MAX = 2.0


class _Watcher:
    """One stream: the job as it was last told, and as it is to be told next."""

    def __init__(self) -> None:
        self._next: Job | None = None
        self._version = 0
        self._changed = asyncio.Event()
        self._gone = False
        self.corrupt: DataCorrupt | None = None

    def tell(self, job: Job | DataCorrupt | None) -> None:
        """Has the stream answer a state, unless it knows a later one; None if there is no such job any more."""
        if job is None or isinstance(job, DataCorrupt):
            self._gone, self.corrupt = True, job
        elif job.version > self._version:
            self._next, self._version = job, job.version
        else:
            return
        self._changed.set()

    def is_behind(self, version: int) -> bool:
        """Whether the stream does not know this version yet."""
        return self._version < version

    async def next(self) -> Job | None:
        """Waits for the next state; None if there will be none."""
        while self._next is None and not self._gone:
            await self._changed.wait()
            self._changed.clear()
        # A state that is to be told still is one, also if there will be no other.
        job, self._next = self._next, None
        return job


class Watching:
    """The watchers of this process, and its messages to others.

    Args:
        transactions: Where reading begins.
        jobs: The stored jobs.
        client: Made by `services.kit.redis.pubsub.redis_client`; not closed here.
        prefix: Put before the name of the channel.
        compare_seconds: How often versions are compared.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        jobs: JobRepository,
        client: redis.Redis,
        prefix: str = "",
        *,
        compare_seconds: float = _COMPARE_SECONDS,
    ) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._client = client
        self._channel = f"{prefix}{_CHANNEL}"
        self._subscription = Subscription(
            client, self._channel, receive=self._receive, begin=self._compare_now, poll_seconds=compare_seconds
        )
        self._compare_seconds = compare_seconds
        self._watchers: dict[UUID, set[_Watcher]] = {}
        self._compared_at = monotonic()
        self._changed: set[UUID] = set()
        self._changed_any = asyncio.Event()
        self._unsent: set[UUID] = set()
        self._unsent_any = asyncio.Event()
        self._draining = False

    def put(self, job_ids: Collection[UUID]) -> None:
        """Notes changes; watchers are told soon, and nobody waits for it."""
        if len(self._unsent) < _PENDING_MAX:
            self._unsent.update(job_ids)
        self._unsent_any.set()
        self._note(job_ids)

    def drain(self) -> None:
        """Ends all streams: their clients go on at another replica, as `innosystem.client.watch_job` does."""
        self._draining = True
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.tell(None)

    async def watch(self, job_id: UUID) -> AsyncGenerator[Job, None]:
        """Yields the job as it is and each change, until it is at rest.

        Raises:
            JobNotFound: If there is none.
            DataCorrupt: If it is not understood, or not any more.
            Draining: If this process stops.
        """
        if self._draining:
            raise Draining
        watcher = _Watcher()
        # Before it is read, so that no change is missed in between.
        self._watchers.setdefault(job_id, set()).add(watcher)
        try:
            async with self.transactions.begin(read_only=True):
                found = (await self._jobs.get_many([job_id])).get(job_id)
            if found is None:
                raise JobNotFound(job_id)
            watcher.tell(found)
            while (job := await watcher.next()) is not None:
                yield job
                if is_at_rest(job):
                    return
            raise watcher.corrupt or self._why_ended(job_id)
        finally:
            self._watchers[job_id].discard(watcher)
            if not self._watchers[job_id]:
                del self._watchers[job_id]

    def _why_ended(self, job_id: UUID) -> DomainError:
        return Draining() if self._draining else JobNotFound(job_id)

    async def run(self) -> None:
        """Tell, send and receive until the task is cancelled."""
        await together(
            Loop("watchers", self._tell, backoff_seconds_max=_BACKOFF_SECONDS_MAX).run(),
            Loop("changes", self._send, known=REDIS_FAILURES, backoff_seconds_max=_BACKOFF_SECONDS_MAX).run(),
            self._subscription.run(),
        )

    async def _tell(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._compare_seconds):
                await self._changed_any.wait()
        if monotonic() - self._compared_at >= self._compare_seconds:
            await self._compare()
            self._compared_at = monotonic()
        await self._tell_changed()

    async def _compare(self) -> None:
        """Finds the changes that nobody has told of."""
        if not self._watchers:
            return
        async with self.transactions.begin(read_only=True):
            versions = await self._jobs.versions(list(self._watchers))
        for job_id, watchers in self._watchers.items():
            version = versions.get(job_id)
            if version is None or any(watcher.is_behind(version) for watcher in watchers):
                self._changed.add(job_id)

    async def _tell_changed(self) -> None:
        self._changed_any.clear()
        # What changes while they are read is told next.
        changed, self._changed = self._changed & self._watchers.keys(), set()
        if not changed:
            return
        try:
            async with self.transactions.begin(read_only=True):
                jobs = await self._jobs.get_many(changed)
        except BaseException:
            self._changed |= changed
            raise
        for job_id in changed:
            for watcher in self._watchers.get(job_id, ()):
                watcher.tell(jobs.get(job_id))

    async def _send(self) -> None:
        await self._unsent_any.wait()
        self._unsent_any.clear()
        # What can't be sent, others find when they compare.
        sent, self._unsent = self._unsent, set()
        if sent:
            await self._client.publish(self._channel, b"".join(job_id.bytes for job_id in sent))

    def _receive(self, data: bytes | str) -> None:
        if isinstance(data, bytes) and len(data) % _ID_BYTES == 0:
            self._note(UUID(bytes=data[start : start + _ID_BYTES]) for start in range(0, len(data), _ID_BYTES))

    def _note(self, job_ids: Iterable[UUID]) -> None:
        watched = [job_id for job_id in job_ids if job_id in self._watchers]
        if watched:
            self._changed.update(watched)
            self._changed_any.set()

    def _compare_now(self) -> None:
        self._changed.update(self._watchers)
        self._changed_any.set()
