"""The way of IDs from the database to the lists, with lists that fail on demand."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.jobs.background import dispatcher as module
from services.jobs.background import feeding, scheduler, window
from services.jobs.background.dispatcher import Dispatcher
from services.jobs.rules.backlogs import Note
from services.jobs.rules.entities import Backlog, JobStatus, ListKey, NewJob, Waiting
from services.jobs.rules.job_types import JobType, Priority
from services.kit import background
from services.kit.data.errors import ConnectionFailed
from services.kit.data.transactions.ambient import Definition, Opened
from services.kit.data.transactions.memory import MemoryStore, MemoryTransactions
from tests.support.jobs_examples import NOW, new_job, new_job_type
from tests.support.jobs_lists import ListsForTests
from tests.support.jobs_work import ChangesForTests, memory_work
from tests.support.until import until

MEDIUM = ListKey("default", Priority.MEDIUM)


class Away(MemoryTransactions):
    """A database in memory that can be unavailable."""

    available = True

    @asynccontextmanager
    async def _transaction(self, definition: Definition, *, suspended: bool) -> AsyncIterator[Opened[MemoryStore]]:
        if not self.available:
            raise ConnectionFailed
        async with super()._transaction(definition, suspended=suspended) as opened:
            yield opened


class World:
    """A database in memory that can be unavailable, lists, and the dispatcher between them."""

    def __init__(self, window: int = 1000) -> None:
        self.transactions = Away()
        self.work = memory_work(self.transactions)
        self.lists = ListsForTests()
        self.changes = ChangesForTests()
        self.types: dict[UUID, JobType] = {}
        self.dispatcher = Dispatcher(
            self.transactions, self.work.jobs, self.work.pauses, self.lists, self.changes, window=window
        )

    async def job_type(self, **values: Any) -> JobType:
        """Store a job type."""
        async with self.transactions.begin():
            job_type = await self.work.job_types.create(new_job_type(**values))
        self.types[job_type.id] = job_type
        return job_type

    async def stored(self, count: int = 1, *, withheld: bool = False, **values: Any) -> list[NewJob]:
        """Store jobs without notifying the dispatcher."""
        job_type_id = values.pop("job_type_id", None) or (await self.job_type()).id
        jobs = [new_job(job_type_id, **values) for _ in range(count)]
        async with self.transactions.begin():
            await self.work.jobs.create_many(jobs, {job.id for job in jobs} if withheld else ())
        return jobs

    def withholds(self, key: ListKey, job_type: JobType) -> bool:
        """Whether the only job of a customer is withheld."""
        job = new_job(job_type.id, queue=key.queue, priority=key.priority)
        return bool(self.dispatcher.withheld([job], {job_type.id: job_type}))

    async def submit(self, count: int, job_type: JobType, **values: Any) -> list[UUID]:
        """Store jobs and notify the dispatcher, as a submission does."""
        jobs = [new_job(job_type.id, **values) for _ in range(count)]
        withheld = self.dispatcher.withheld(jobs, {job_type.id: job_type})
        async with self.transactions.begin():
            await self.work.jobs.create_many(jobs, withheld)
        if withheld:
            self.dispatcher.wake(MEDIUM)
        self.dispatcher.put(waiting([job for job in jobs if job.id not in withheld]))
        return [job.id for job in jobs]

    async def paused(self, job_type: JobType, *, paused: bool) -> JobType:
        """Pauses or resumes a job type."""
        async with self.transactions.begin():
            changed = await self.work.job_types.update(replace(job_type, paused=paused))
        self.dispatcher.wake()
        return changed

    async def paused_queue(self, *, paused: bool) -> None:
        """Pauses or resumes the queue."""
        async with self.transactions.begin():
            await self.work.pauses.set_queue("default", paused=paused)
        self.dispatcher.wake()

    async def withheld(self) -> set[UUID]:
        """Return the withheld jobs."""
        async with self.transactions.begin() as transaction:
            return {job.id for job in transaction._resource.tables["jobs"].values() if job.dispatched_at is None}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the dispatcher."""
        task = asyncio.create_task(self.dispatcher.run())
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def waiting(jobs: Sequence[NewJob]) -> list[Waiting]:
    """Return the jobs as the submission notes them."""
    return [Waiting(job.id, job.queue, job.priority, job.expires_at) for job in jobs]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(background, "_BACKOFF_SECONDS_MIN", 0.001)
    monkeypatch.setattr(module, "_BACKOFF_SECONDS_MAX", 0.01)
    monkeypatch.setattr(feeding, "_BACKOFF_SECONDS_MAX", 0.01)
    monkeypatch.setattr(window, "_PAUSE_SECONDS_MIN", 0.005)
    monkeypatch.setattr(window, "_PAUSE_SECONDS_MAX", 0.005)
    # Nobody takes anything at a rate of its own here.
    monkeypatch.setattr(window, "_MEASURED_SECONDS", 60.0)
    # No notified job may wait for the next poll of the database.
    monkeypatch.setattr(module, "_POLL_SECONDS", 60.0)
    monkeypatch.setattr(scheduler, "_POLL_SECONDS", 60.0)
    return World()


async def test_what_is_noted_is_pushed_in_its_order(world: World) -> None:
    async with world.running():
        jobs = await world.stored(5)
        world.dispatcher.put(waiting(jobs))
        await until(lambda: len(world.lists.pushed) >= 5)
    assert world.lists.pushed == [job.id for job in jobs]


async def test_all_that_is_withheld_is_handed_over_at_the_start(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "_BATCH", 2)
    jobs = await world.stored(5, withheld=True)
    async with world.running():
        await until(lambda: len(world.lists.pushed) >= 5)
    assert set(world.lists.pushed) == {job.id for job in jobs}


async def test_what_the_queue_does_not_take_is_marked_and_pushed_when_it_is_back(world: World) -> None:
    async with world.running():
        world.lists.available = False
        jobs = await world.stored(3)
        world.dispatcher.put(waiting(jobs))
        await until(lambda: world.lists.refusals >= 2)
        world.lists.available = True
        await until(lambda: len(world.lists.pushed) >= 3)
    assert set(world.lists.pushed) == {job.id for job in jobs}
    assert await world.withheld() == set()


async def test_while_the_queue_is_away_jobs_are_marked_in_the_database(world: World) -> None:
    world.lists.available = False
    async with world.running():
        jobs = await world.stored(2)
        world.dispatcher.put(waiting(jobs))
        await until(lambda: world.lists.refusals >= 3)
    # Either all are marked, or the dispatcher was just about to push them.
    world.lists.available = True
    await world.dispatcher.flush()
    assert await world.withheld() | set(world.lists.pushed) == {job.id for job in jobs}


async def test_nothing_is_lost_while_queue_and_database_are_away(world: World) -> None:
    async with world.running():
        jobs = await world.stored(3)
        world.lists.available = world.transactions.available = False
        world.dispatcher.put(waiting(jobs))
        await until(lambda: world.lists.refusals >= 2)
        world.lists.available = world.transactions.available = True
        await until(lambda: {job.id for job in jobs} <= set(world.lists.pushed))


async def test_an_idle_dispatcher_does_nothing(world: World) -> None:
    async with world.running():
        world.dispatcher.put(waiting(await world.stored()))
        await until(lambda: world.lists.pushed != [])
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


async def test_what_is_to_be_first_is_pushed_before_all_others_in_its_order(world: World) -> None:
    jobs = await world.stored(4)
    world.dispatcher.put(waiting(jobs[:2]))
    await world.dispatcher.flush()
    world.dispatcher.put(waiting(jobs[2:]), first=True)
    await world.dispatcher.flush()
    assert world.lists.held[MEDIUM] == [job.id for job in (*jobs[2:], *jobs[:2])]


async def test_a_list_is_fed_up_to_its_window_and_on_when_there_is_room(world: World) -> None:
    world = World(window=10)
    jobs = {job.id for job in await world.stored(25, withheld=True)}
    seen: set[UUID] = set()
    async with world.running():
        await until(lambda: len(world.lists.held[MEDIUM]) == 10)
        while seen != jobs:
            await until(lambda: bool(world.lists.held[MEDIUM]))
            seen.update(world.lists.taken(MEDIUM, 4))
    assert world.lists.longest == 10
    assert len(world.lists.pushed) == 25


async def test_a_list_is_not_fed_one_by_one(world: World) -> None:
    world = World(window=100)
    await world.stored(200, withheld=True)
    async with world.running():
        await until(lambda: len(world.lists.held[MEDIUM]) == 100)
        attempts = world.lists.attempts
        world.lists.taken(MEDIUM, 49)
        await asyncio.sleep(0.05)  # that nothing is pushed sets no event
        assert world.lists.attempts == attempts
        world.lists.taken(MEDIUM, 1)
        await until(lambda: len(world.lists.held[MEDIUM]) == 100)
    assert world.lists.attempts == attempts + 1


async def test_jobs_are_withheld_when_their_list_is_full(world: World) -> None:
    world = World(window=3)
    job_type = await world.job_type()
    async with world.running():
        await world.submit(3, job_type)
        await until(lambda: len(world.lists.held[MEDIUM]) == 3)
        assert world.withholds(MEDIUM, job_type)
        assert not world.withholds(ListKey("default", Priority.HIGH), job_type)


async def test_newer_jobs_do_not_overtake_those_that_are_still_to_be_handed_over(world: World) -> None:
    world = World(window=5)
    job_type = await world.job_type()
    customer_id = new_job(job_type.id).customer_id
    older = [job.id for job in await world.stored(12, withheld=True, job_type_id=job_type.id, customer_id=customer_id)]
    seen: list[UUID] = []
    async with world.running():
        await until(lambda: len(world.lists.held[MEDIUM]) == 5)
        seen += world.lists.taken(MEDIUM, 5)
        newer = await world.submit(2, job_type)
        while len(seen) < 14:
            await until(lambda: bool(world.lists.held[MEDIUM]))
            seen += world.lists.taken(MEDIUM)
    assert [one for one in seen if one in older] == older
    assert set(seen[5:]) == {*older[5:], *newer}
    assert seen.index(newer[0]) > 5


async def test_room_in_a_list_belongs_to_those_that_are_still_to_be_handed_over(world: World) -> None:
    world = World(window=100)
    job_type = await world.job_type()
    await world.stored(105, withheld=True)
    async with world.running():
        await until(lambda: len(world.lists.held[MEDIUM]) == 100)
        world.lists.taken(MEDIUM, 5)
        await until(lambda: world.dispatcher._feeds[MEDIUM].window._length == 95)
        assert world.withholds(MEDIUM, job_type)


async def test_when_a_list_has_caught_up_jobs_are_handed_over_at_once_again_without_a_pause(world: World) -> None:
    job_type = await world.job_type()
    await world.stored(5, withheld=True, job_type_id=job_type.id)
    async with world.running():
        await until(lambda: len(world.lists.pushed) == 5)
        # Submissions never stop for as long as it takes to look again.
        for count in range(6, 60):
            await world.submit(1, job_type)
            await until(lambda count=count: len(world.lists.pushed) == count)  # type: ignore[misc] # bound now
            if not world.withholds(MEDIUM, job_type):
                break
        assert not world.withholds(MEDIUM, job_type)


async def test_jobs_of_a_paused_type_are_withheld_and_those_of_others_are_not(world: World) -> None:
    paused, other = await world.job_type(), await world.job_type()
    async with world.running():
        paused = await world.paused(paused, paused=True)
        await until(lambda: world.withholds(MEDIUM, replace(paused, paused=False)))
        withheld = await world.submit(2, paused)
        submitted = await world.submit(2, other)
        await until(lambda: len(world.lists.pushed) == 2)
        assert world.lists.pushed == submitted
        await world.paused(paused, paused=False)
        await until(lambda: len(world.lists.pushed) == 4)
    assert set(world.lists.pushed[2:]) == set(withheld)


async def test_jobs_that_runners_have_refused_are_left_to_be_fed_apart_and_those_of_others_are_not(
    world: World,
) -> None:
    refused, other = await world.job_type(), await world.job_type()
    async with world.transactions.begin():
        await world.work.unserved.note([Note(Backlog("default", refused.id), refused=1)])
    async with world.running():
        await until(lambda: world.withholds(MEDIUM, refused))
        withheld = await world.submit(2, refused)
        pushed = await world.submit(2, other)
        await until(lambda: len(world.lists.pushed) == 2)
    assert await world.withheld() == set(withheld)
    assert world.lists.pushed == pushed


async def test_jobs_of_a_paused_queue_are_withheld_until_it_is_resumed(world: World) -> None:
    job_type = await world.job_type()
    async with world.running():
        await world.paused_queue(paused=True)
        await until(lambda: world.withholds(MEDIUM, job_type))
        withheld = await world.submit(3, job_type)
        other = await world.stored(1, queue="mail")
        world.dispatcher.put(waiting(other))
        await until(lambda: bool(world.lists.pushed))
        assert world.lists.pushed == [other[0].id]
        await world.paused_queue(paused=False)
        await until(lambda: len(world.lists.pushed) == 4)
    assert set(world.lists.pushed[1:]) == set(withheld)


async def test_a_job_for_later_is_handed_over_when_its_time_has_come_and_not_before(world: World) -> None:
    job_type = await world.job_type()
    [before] = await world.stored(1, withheld=True)
    async with world.running():
        # By then it has looked, and looks again only when it is woken.
        await until(lambda: world.lists.pushed == [before.id])
        await until(lambda: not world.withholds(MEDIUM, job_type))
        run_at = datetime.now(UTC) + timedelta(seconds=0.3)
        [job] = await world.stored(1, status=JobStatus.SCHEDULED, run_at=run_at)
        world.dispatcher.expect(timedelta(seconds=0.3))
        await until(lambda: len(world.lists.pushed) == 2)
        assert datetime.now(UTC) >= run_at
    assert world.lists.pushed[1] == job.id


async def test_a_job_for_later_that_was_stored_before_the_start_is_handed_over_in_time(world: World) -> None:
    run_at = datetime.now(UTC) + timedelta(seconds=0.3)
    due = await world.stored(1, status=JobStatus.SCHEDULED, run_at=NOW)
    later = await world.stored(1, status=JobStatus.SCHEDULED, run_at=run_at)
    async with world.running():
        await until(lambda: len(world.lists.pushed) == 2)
        assert datetime.now(UTC) >= run_at
    assert world.lists.pushed == [due[0].id, later[0].id]


async def test_what_other_processes_have_left_is_found_without_being_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.01)
    world = World()
    async with world.running():
        await asyncio.sleep(0.05)  # some polls find nothing first
        [job] = await world.stored(1, withheld=True)
        await until(lambda: bool(world.lists.pushed))
    assert world.lists.pushed == [job.id]


async def test_what_was_taken_and_the_queue_did_not_take_is_withheld_again(world: World) -> None:
    world.lists.available = False
    jobs = {job.id for job in await world.stored(3, withheld=True)}
    world.lists.lengths = lengths_anyway  # type: ignore[method-assign] # the push alone fails
    async with world.running():
        await until(lambda: world.lists.refusals >= 2)
        world.lists.available = True
        await until(lambda: len(world.lists.pushed) == 3)
    assert set(world.lists.pushed) == jobs
    assert await world.withheld() == set()


async def lengths_anyway(keys: Sequence[ListKey]) -> dict[ListKey, int]:
    """Return lists that look empty."""
    return dict.fromkeys(keys, 0)


async def test_watchers_are_told_of_jobs_whose_time_has_come(world: World) -> None:
    [job] = await world.stored(status=JobStatus.SCHEDULED, run_at=NOW)
    async with world.running():
        await until(lambda: world.lists.pushed == [job.id])
    assert job.id in world.changes.job_ids
