"""The way of IDs from the database to the queue, with a queue that fails when it is told to."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import pytest

from services.jobs import dispatcher as module
from services.jobs.dispatcher import Dispatcher, QueueUnavailable
from services.jobs.domain import NewJob
from services.jobs.repository import Waiting
from services.kit.data.errors import ConnectionFailed
from services.kit.data.transactions import Definition, Opened
from services.kit.data.transactions_memory import MemoryStore, MemoryTransactions
from tests.jobs_examples import new_job, new_job_type
from tests.jobs_work import memory_work

LIMIT_SECONDS = 10


class Lists:
    """A queue that can be away, and tells when something happened to it."""

    def __init__(self) -> None:
        self.pushed: list[UUID] = []
        self.available = True
        self.attempts = 0
        self.happened = asyncio.Event()

    async def push(self, jobs: Sequence[Waiting]) -> None:
        self.attempts += 1
        self.happened.set()
        if not self.available:
            raise QueueUnavailable("away")
        self.pushed += [job.id for job in jobs]


class Away(MemoryTransactions):
    """A database in memory that can be away."""

    available = True

    @asynccontextmanager
    async def _transaction(self, definition: Definition, *, suspended: bool) -> AsyncIterator[Opened[MemoryStore]]:
        if not self.available:
            raise ConnectionFailed
        async with super()._transaction(definition, suspended=suspended) as opened:
            yield opened


class World:
    """A database in memory that can be away, a queue, and the dispatcher between them."""

    def __init__(self) -> None:
        self.transactions = Away()
        self.work = memory_work(self.transactions)
        self.lists = Lists()
        self.dispatcher = Dispatcher(self.transactions, self.work.jobs, self.lists)

    async def stored(self, count: int = 1) -> list[NewJob]:
        """Stores jobs of which the dispatcher does not know."""
        async with self.transactions.begin():
            job_type = await self.work.job_types.create(new_job_type())
            jobs = [new_job(job_type.id) for _ in range(count)]
            await self.work.jobs.create_many(jobs)
        return jobs

    async def withheld(self) -> set[UUID]:
        """The jobs that are marked as still to be pushed."""
        async with self.transactions.begin() as transaction:
            return {job.id for job in transaction._resource.tables["jobs"].values() if job.dispatched_at is None}

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until something that happens to the queue makes a condition true."""
        async with asyncio.timeout(LIMIT_SECONDS):
            while not condition():
                self.lists.happened.clear()
                await self.lists.happened.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Runs the dispatcher."""
        task = asyncio.create_task(self.dispatcher.run())
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def waiting(jobs: Sequence[NewJob]) -> list[Waiting]:
    """The jobs as the submission notes them."""
    return [Waiting(job.id, job.queue, job.priority, job.expires_at) for job in jobs]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(module, "_BACKOFF_MIN", 0.001)
    monkeypatch.setattr(module, "_BACKOFF_MAX", 0.01)
    return World()


async def test_what_is_noted_is_pushed_in_its_order(world: World) -> None:
    async with world.running():
        jobs = await world.stored(5)
        world.dispatcher.put(waiting(jobs))
        await world.until(lambda: len(world.lists.pushed) >= 5)
    # The push of all that waits, at the start, may have found them as well: duplicates are harmless.
    assert world.lists.pushed[:5] == [job.id for job in jobs]


async def test_all_that_waits_is_pushed_at_the_start(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH", 2)
    jobs = await world.stored(5)
    async with world.running():
        await world.until(lambda: len(world.lists.pushed) >= 5)
    assert set(world.lists.pushed) == {job.id for job in jobs}


async def test_what_the_queue_does_not_take_is_marked_and_pushed_when_it_is_back(world: World) -> None:
    async with world.running():
        world.lists.available = False
        jobs = await world.stored(3)
        world.dispatcher.put(waiting(jobs))
        await world.until(lambda: world.lists.attempts >= 2)
        world.lists.available = True
        await world.until(lambda: len(world.lists.pushed) >= 3)
    assert set(world.lists.pushed) == {job.id for job in jobs}
    assert await world.withheld() == set()


async def test_while_the_queue_is_away_jobs_are_marked_in_the_database(world: World) -> None:
    world.lists.available = False
    async with world.running():
        jobs = await world.stored(2)
        world.dispatcher.put(waiting(jobs))
        await world.until(lambda: world.lists.attempts >= 3)
    # Either all are marked, or the dispatcher was just about to push them.
    world.lists.available = True
    await world.dispatcher.flush()
    assert await world.withheld() | set(world.lists.pushed) == {job.id for job in jobs}


async def test_nothing_is_lost_while_queue_and_database_are_away(world: World) -> None:
    async with world.running():
        jobs = await world.stored(3)
        world.lists.available = world.transactions.available = False
        world.dispatcher.put(waiting(jobs))
        await world.until(lambda: world.lists.attempts >= 2)
        world.lists.available = world.transactions.available = True
        await world.until(lambda: {job.id for job in jobs} <= set(world.lists.pushed))


async def test_an_idle_dispatcher_does_nothing(world: World) -> None:
    async with world.running():
        world.dispatcher.put(waiting(await world.stored()))
        await world.until(lambda: world.lists.pushed != [])
        attempts = world.lists.attempts
        for _ in range(100):
            await asyncio.sleep(0)
        assert world.lists.attempts == attempts


async def test_a_flush_pushes_what_is_noted_and_fails_quietly(world: World) -> None:
    jobs = await world.stored(2)
    world.dispatcher.put(waiting(jobs))
    world.lists.available = False
    await world.dispatcher.flush()
    assert await world.withheld() == {job.id for job in jobs}
    world.dispatcher.put(waiting(jobs))
    world.lists.available = True
    await world.dispatcher.flush()
    assert world.lists.pushed == [job.id for job in jobs]
