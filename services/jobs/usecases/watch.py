"""Streams the states of jobs to their watchers.

A change in this process is read immediately, a change in another process when its message arrives. Because messages may
be lost, the versions of all watched jobs are compared every second: one statement, however many watchers there are.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from time import monotonic
from typing import Any
from uuid import UUID

from services.jobs.rules.entities import Job, Revision, is_at_rest
from services.jobs.rules.errors import JobNotFound
from services.jobs.usecases.own_jobs import narrowing
from services.jobs.usecases.ports import JobRepository
from services.kit.auth.tenants import Tenants
from services.kit.background import Loop
from services.kit.data.transactions.ambient import Transactions
from services.kit.errors import DataCorrupt, DomainError, Draining

_COMPARE_SECONDS = 1.0
_BACKOFF_SECONDS_MAX = 2.0


class _Watcher:
    """One stream: the revision that it has reached, and the state that it yields next."""

    def __init__(self) -> None:
        self._next: Job | None = None
        self._revision = Revision(0, 0)
        self._changed = asyncio.Event()
        self._gone = False
        self.corrupt: DataCorrupt | None = None

    def offer(self, job: Job | DataCorrupt | None) -> None:
        """Yield a state next, unless the stream has a later one; None if the job no longer exists."""
        if job is None or isinstance(job, DataCorrupt):
            self._gone, self.corrupt = True, job
        elif job.revision > self._revision:
            self._next, self._revision = job, job.revision
        else:
            return
        self._changed.set()

    def is_behind(self, revision: Revision) -> bool:
        """Whether the stream has not reached this state yet."""
        return self._revision < revision

    async def next(self) -> Job | None:
        """Wait for the next state; None after the last."""
        while self._next is None and not self._gone:
            await self._changed.wait()
            self._changed.clear()
        # A pending state is still yielded when it is the last.
        job, self._next = self._next, None
        return job


class Watching:
    """The watchers of this process.

    Args:
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
        compare_seconds: The interval between two comparisons of versions.
    """

    def __init__(
        self, transactions: Transactions[Any], jobs: JobRepository, *, compare_seconds: float = _COMPARE_SECONDS
    ) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._compare_seconds = compare_seconds
        self._watchers: dict[UUID, set[_Watcher]] = {}
        self._compared_at = monotonic()
        self._changed: set[UUID] = set()
        self._changed_any = asyncio.Event()
        self._draining = False

    def notice(self, job_ids: Iterable[UUID]) -> None:
        """Note changed jobs; the watched ones are read soon."""
        watched = [job_id for job_id in job_ids if job_id in self._watchers]
        if watched:
            self._changed.update(watched)
            self._changed_any.set()

    def resync(self) -> None:
        """Note that changes may have been missed; all watched jobs are read soon."""
        self._changed.update(self._watchers)
        self._changed_any.set()

    def drain(self) -> None:
        """End all streams: their clients continue at another replica, as `innosystem.client.watch_job` does."""
        self._draining = True
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.offer(None)

    async def watch(self, job_id: UUID, tenants: Tenants) -> AsyncGenerator[Job, None]:
        """Yield the present state of a job and each change, until the job is at rest.

        Raises:
            JobNotFound: If the job does not exist, or no longer.
            DataCorrupt: If the stored job is not understood, or no longer.
            Draining: If this process stops.
        """
        if self._draining:
            raise Draining
        watcher = _Watcher()
        # Before the job is read, so that no change is missed in between.
        self._watchers.setdefault(job_id, set()).add(watcher)
        try:
            async with self.transactions.begin(read_only=True):
                found = await self._jobs.get(job_id, narrowing(tenants).specification, full=False)
            if found is None:
                raise JobNotFound(job_id)
            watcher.offer(found)
            while (job := await watcher.next()) is not None:
                yield job
                if is_at_rest(job):
                    return
            raise watcher.corrupt or self._reason_ended(job_id)
        finally:
            self._watchers[job_id].discard(watcher)
            if not self._watchers[job_id]:
                del self._watchers[job_id]

    def _reason_ended(self, job_id: UUID) -> DomainError:
        return Draining() if self._draining else JobNotFound(job_id)

    async def run(self) -> None:
        """Compare and read until the task is cancelled."""
        await Loop("watchers", self._round, backoff_seconds_max=_BACKOFF_SECONDS_MAX).run()

    async def _round(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._compare_seconds):
                await self._changed_any.wait()
        if monotonic() - self._compared_at >= self._compare_seconds:
            await self._compare()
            self._compared_at = monotonic()
        await self._offer_changed()

    async def _compare(self) -> None:
        """Find the changes whose messages were lost."""
        if not self._watchers:
            return
        async with self.transactions.begin(read_only=True):
            revisions = await self._jobs.revisions(list(self._watchers))
        for job_id, watchers in self._watchers.items():
            revision = revisions.get(job_id)
            if revision is None or any(watcher.is_behind(revision) for watcher in watchers):
                self._changed.add(job_id)

    async def _offer_changed(self) -> None:
        self._changed_any.clear()
        # Changes that are noted during the read are left to the next round.
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
                watcher.offer(jobs.get(job_id))
