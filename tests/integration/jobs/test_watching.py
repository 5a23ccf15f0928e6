"""Watchers of jobs in two processes, on real PostgreSQL and Redis."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
import redis.asyncio as redis
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from services.jobs.clients.job_changes import JobChanges
from services.jobs.rules.entities import Job, JobStatus
from services.jobs.rules.errors import JobNotFound
from services.jobs.rules.transitions.leasing import Claim
from services.jobs.rules.transitions.progress import Report
from services.jobs.usecases.progress import ProgressService
from services.jobs.usecases.watch import Watching
from services.kit.auth.tenants import ALL_TENANTS
from services.kit.background import together
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.errors import DataCorrupt, Draining
from services.kit.redis.pubsub import redis_client
from services.kit.settings import RedisSettings
from tests.support.jobs_examples import MINUTE, new_job, new_job_type
from tests.support.jobs_usecases import control_service
from tests.support.jobs_work import QueueForTests, sql_work
from tests.support.tasks import cancelled
from tests.support.until import until
from tools.local.embedded import EmbeddedRedis

LIMIT_SECONDS = 15
NEVER = 3600.0
OFTEN = 0.05


class Process:
    """What a process has: the way to its watchers and to those of others."""

    def __init__(self, database: Database, client: redis.Redis, prefix: str, compare_seconds: float) -> None:
        self.work = sql_work(SqlTransactions(database))
        self.watching = Watching(self.work.transactions, self.work.jobs, compare_seconds=compare_seconds)
        self.changes = JobChanges(self.watching, client, prefix, poll_seconds=compare_seconds)
        self._control = control_service(self.work, QueueForTests(), self.changes)
        self._progress = ProgressService(self.work.transactions, self.work.jobs, changes=self.changes)

    async def stored(self) -> UUID:
        async with self.work.transactions.begin():
            job_type = await self.work.job_types.create(new_job_type())
            job = new_job(job_type.id)
            await self.work.jobs.create_many([job])
        return job.id

    async def claim(self, job_id: UUID) -> None:
        """Make the job run, without a notification."""
        async with self.work.transactions.begin():
            await self.work.jobs.claim(Claim([job_id], uuid7(), uuid7(), MINUTE, 1000))

    async def report(self, job_id: UUID, sequence: int, percent: float) -> None:
        """Report progress of the job's run, with a notification."""
        async with self.work.transactions.begin():
            job = await self.work.jobs.get(job_id)
        assert job is not None
        assert job.lease_id is not None
        said = Report(job_id=job_id, lease_id=job.lease_id, sequence=sequence, percent=percent)
        assert await self._progress.report([said], ALL_TENANTS) == [None]

    async def cancel(self, job_id: UUID) -> None:
        """Cancel the job, with a notification."""
        await self._control.cancel([job_id], "", ALL_TENANTS)


class Stream:
    """A watcher's stream."""

    def __init__(self, process: Process, job_id: UUID) -> None:
        self._states = process.watching.watch(job_id, ALL_TENANTS)

    async def next(self) -> Job:
        """Return the next state, within a limit."""
        async with asyncio.timeout(LIMIT_SECONDS):
            return await anext(self._states)

    async def ended(self) -> bool:
        """Wait for the end."""
        async with asyncio.timeout(LIMIT_SECONDS):
            return [state async for state in self._states] == []


class Processes:
    """Processes on two pools that talk through the Redis at an address."""

    def __init__(self, databases: list[Database], url: str, opened: AsyncExitStack) -> None:
        self.url = url
        self._databases = databases
        self._opened = opened
        self._prefix = f"{uuid7()}:"
        self._started = 0

    async def start(self, compare_seconds: float = NEVER) -> Process:
        """Start a process; it receives the messages of the others when this returns."""
        client = await self._opened.enter_async_context(redis_client(RedisSettings(url=SecretStr(self.url))))
        process = Process(self._databases[self._started % 2], client, self._prefix, compare_seconds)
        self._started += 1
        task = asyncio.create_task(together(process.watching.run(), process.changes.run()))
        self._opened.push_async_callback(cancelled, task)
        await until(lambda: process.changes.subscribed)
        return process


@pytest.fixture
def processes(databases: list[Database], redis_url: str, opened: AsyncExitStack) -> Processes:
    """Return processes at the Redis of this run."""
    return Processes(databases, redis_url, opened)


async def test_the_present_state_is_told_at_once_and_a_change_in_the_same_process_then(processes: Processes) -> None:
    one = await processes.start()
    job_id = await one.stored()
    stream = Stream(one, job_id)
    assert (await stream.next()).status is JobStatus.PENDING
    await one.cancel(job_id)
    assert (await stream.next()).status is JobStatus.CANCELLED
    assert await stream.ended()


async def test_a_change_in_another_process_is_seen(processes: Processes) -> None:
    one, other = await processes.start(), await processes.start()
    job_id = await one.stored()
    stream = Stream(other, job_id)
    await stream.next()
    await one.cancel(job_id)
    assert (await stream.next()).status is JobStatus.CANCELLED


async def test_a_change_that_nobody_told_of_is_found_by_comparison(processes: Processes) -> None:
    one, other = await processes.start(), await processes.start(OFTEN)
    job_id = await one.stored()
    stream = Stream(other, job_id)
    await stream.next()
    await one.claim(job_id)
    assert (await stream.next()).status is JobStatus.RUNNING


async def test_all_watchers_of_a_job_are_told_and_those_of_other_jobs_are_not(processes: Processes) -> None:
    one = await processes.start()
    job_id, other_id = await one.stored(), await one.stored()
    streams, other = [Stream(one, job_id) for _ in range(50)], Stream(one, other_id)
    for stream in [*streams, other]:
        await stream.next()
    await one.cancel(job_id)
    told = await asyncio.gather(*(stream.next() for stream in streams))
    assert {job.status for job in told} == {JobStatus.CANCELLED}
    nothing = asyncio.create_task(other.next())
    await one.cancel(other_id)
    assert (await nothing).id == other_id


async def test_without_redis_changes_in_the_same_process_are_told_and_those_in_others_are_found(
    databases: list[Database], tmp_path: Path, opened: AsyncExitStack
) -> None:
    server = EmbeddedRedis(tmp_path)
    server.start()
    opened.callback(server.stop)
    processes = Processes(databases, server.url, opened)
    one, other = await processes.start(NEVER), await processes.start(OFTEN)
    job_id = await one.stored()
    here, there = Stream(one, job_id), Stream(other, job_id)
    await here.next()
    await there.next()
    server.stop()
    await one.cancel(job_id)
    assert (await here.next()).status is JobStatus.CANCELLED
    assert (await there.next()).status is JobStatus.CANCELLED


async def test_what_happened_while_redis_was_away_is_told_when_it_is_back(
    databases: list[Database], tmp_path: Path, opened: AsyncExitStack
) -> None:
    server = EmbeddedRedis(tmp_path)
    server.start()
    opened.callback(server.stop)
    processes = Processes(databases, server.url, opened)
    one, other = await processes.start(NEVER), await processes.start(30.0)
    job_id = await one.stored()
    there = Stream(other, job_id)
    await there.next()
    server.stop()
    await until(lambda: not other.changes.subscribed)
    await one.cancel(job_id)
    server.start()
    assert (await there.next()).status is JobStatus.CANCELLED


async def test_a_job_that_is_over_is_told_once_and_one_that_is_not_there_is_not_found(processes: Processes) -> None:
    one = await processes.start()
    job_id = await one.stored()
    await one.cancel(job_id)
    stream = Stream(one, job_id)
    assert (await stream.next()).status is JobStatus.CANCELLED
    assert await stream.ended()
    with pytest.raises(JobNotFound):
        await Stream(one, uuid7()).next()
    assert one.watching._watchers == {}


async def test_a_process_that_stops_ends_its_streams_and_begins_no_others(processes: Processes) -> None:
    one = await processes.start()
    job_id = await one.stored()
    stream, late = Stream(one, job_id), Stream(one, job_id)
    await stream.next()
    one.watching.drain()
    with pytest.raises(Draining):
        await stream.next()
    with pytest.raises(Draining):
        await late.next()
    assert one.watching._watchers == {}


async def test_a_stream_that_is_left_leaves_nothing_behind(processes: Processes) -> None:
    one = await processes.start()
    job_id = await one.stored()
    states = one.watching.watch(job_id, ALL_TENANTS)
    await anext(states)
    assert job_id in one.watching._watchers
    await states.aclose()
    assert one.watching._watchers == {}
    # Changes of jobs that nobody watches are not kept.
    await one.cancel(job_id)
    assert one.watching._changed == set()


async def test_a_job_that_is_not_understood_any_more_ends_its_own_stream_and_the_others_are_told(
    processes: Processes, jobs_url: str
) -> None:
    one, other = await processes.start(), await processes.start(OFTEN)
    bad, good = await one.stored(), await one.stored()
    spoiled, stream = Stream(other, bad), Stream(other, good)
    for each in (spoiled, stream):
        await each.next()
    with psycopg.connect(jobs_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE jobs DROP CONSTRAINT ck_jobs_priority_known")
        connection.execute("UPDATE jobs SET priority = 7, version = version + 1 WHERE id = %s", [bad])
    await one.claim(good)
    assert (await stream.next()).status is JobStatus.RUNNING
    with pytest.raises(DataCorrupt):
        await spoiled.next()
    with pytest.raises(DataCorrupt):
        await Stream(other, bad).next()


async def test_progress_is_told_in_another_process(processes: Processes) -> None:
    one, other = await processes.start(), await processes.start()
    job_id = await one.stored()
    await one.claim(job_id)
    stream = Stream(other, job_id)
    assert (await stream.next()).progress is None
    for sequence, percent in ((1, 12.5), (2, 25.0)):
        await one.report(job_id, sequence, percent)
        progress = (await stream.next()).progress
        assert progress is not None
        assert progress.percent == percent


async def test_progress_that_nobody_told_of_is_found_by_comparison(processes: Processes) -> None:
    one, other = await processes.start(), await processes.start(OFTEN)
    job_id = await one.stored()
    await one.claim(job_id)
    stream = Stream(other, job_id)
    running = await stream.next()
    assert running.lease_id is not None
    async with one.work.transactions.begin():
        await one.work.jobs.report([Report(job_id=job_id, lease_id=running.lease_id, sequence=1, percent=5.0)])
    assert (await stream.next()).progress is not None
