"""A job whose row another session keeps locked, and the thousand beside it in each batch."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from time import monotonic
from uuid import UUID

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from uuid_utils.compat import uuid7

from services.jobs.background.rescuer import Rescuer
from services.jobs.rules.entities import BillingStatus, Job, JobStatus
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.transitions.completion import Charged, Completion
from services.jobs.rules.transitions.deaths import DeathRules
from services.jobs.rules.transitions.leasing import Claim, Renewal
from services.jobs.usecases.run import LeaseEnd, Recorded, Return
from services.kit.auth.tenants import ALL_TENANTS
from services.kit.data.corrupt import understood_by_key
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.errors import RowLocked
from services.kit.settings import DatabaseSettings
from tests.support.jobs_examples import MINUTE, new_job, new_job_type
from tests.support.jobs_usecases import control_service, run_service
from tests.support.jobs_work import (
    ChangesForTests,
    JobsWork,
    QueueForTests,
    sql_work,
)

OTHERS = 1000
# A lock is waited for for 0.3 s, and a thousand jobs take their time on a machine that has other tests to run.
SECONDS_MAX = 3.0
LEASE = uuid7()


class World:
    """The use cases that change jobs, and the jobs."""

    def __init__(self, database: Database) -> None:
        self.work: JobsWork = sql_work(SqlTransactions(database))
        transactions, jobs, changes, queue = self.work.transactions, self.work.jobs, ChangesForTests(), QueueForTests()
        self.runs = run_service(self.work, queue, changes)
        self.control = control_service(self.work, queue, changes)
        self.rescuer = Rescuer(
            transactions,
            jobs,
            queue,
            changes,
            deaths=DeathRules(),
            every=timedelta(seconds=1),
            grace=timedelta(0),
        )
        self.ids: list[UUID] = []

    @property
    def stuck(self) -> UUID:
        return self.ids[OTHERS // 2]

    async def submit(self) -> None:
        """Store a thousand jobs and one."""
        async with self.work.transactions.begin():
            job_type = await self.work.job_types.create(new_job_type())
            jobs = [new_job(job_type.id, max_attempts=9) for _ in range(OTHERS + 1)]
            await self.work.jobs.create_many(jobs)
            await self.work.transactions.resource.execute(text("ANALYZE jobs"))
        self.ids = sorted(job.id for job in jobs)

    async def claim(self, lease: timedelta = MINUTE) -> set[UUID]:
        claimed = await self.runs.claim(Claim(self.ids, uuid7(), LEASE, lease, 10**9), ALL_TENANTS)
        return {one.job.id for one in claimed.jobs}

    async def complete(self) -> list[object]:
        done = [Completion(job_id=one, lease_id=LEASE, outcome=Payload("1", 1)) for one in self.ids]
        return list(await self.runs.complete(done, ALL_TENANTS))

    async def stored(self) -> dict[UUID, Job]:
        async with self.work.transactions.begin(read_only=True):
            return understood_by_key(await self.work.jobs.get_many(self.ids))


@pytest.fixture
async def world(jobs_url: str) -> AsyncIterator[World]:
    database = Database.connect(DatabaseSettings(url=SecretStr(jobs_url)), application_name="test")
    made = World(database)
    await made.submit()
    yield made
    await database.close()


@pytest.fixture
def locked(jobs_url: str, world: World) -> Callable[[], AbstractContextManager[None]]:
    """Keep one of the jobs locked, as a forgotten session does; the others do not wait for it."""

    @contextmanager
    def locked() -> Iterator[None]:
        with psycopg.connect(jobs_url) as other:
            assert other.execute("SELECT FROM jobs WHERE id = %s FOR UPDATE", [world.stuck]).rowcount == 1
            began_at = monotonic()
            yield
            assert monotonic() - began_at < SECONDS_MAX

    return locked


Locked = Callable[[], AbstractContextManager[None]]


def only_the_locked_one_is_refused(world: World, results: Sequence[object]) -> None:
    refused = [key for key, one in zip(world.ids, results, strict=True) if isinstance(one, RowLocked)]
    assert refused == [world.stuck]


async def test_a_claim_leaves_a_locked_job_where_it_is_and_gets_the_others(world: World, locked: Locked) -> None:
    with locked():
        assert await world.claim() == {*world.ids} - {world.stuck}


async def test_a_renewal_keeps_the_leases_of_the_others_and_does_not_call_a_locked_job_lost(
    world: World, locked: Locked
) -> None:
    await world.claim()
    before = await world.stored()
    with locked():
        kept = await world.runs.renew(Renewal([LEASE], world.ids, 2 * MINUTE), ALL_TENANTS)
    assert kept.not_renewed == {}
    after = await world.stored()
    renewed = {key for key, job in after.items() if job.lease_expires_at != before[key].lease_expires_at}
    assert renewed == {*world.ids} - {world.stuck}
    assert {job.lease_expires_at for key, job in after.items() if key in renewed} == {kept.lease_expires_at}


async def test_a_renewal_still_says_which_jobs_are_cancelled_or_lost(world: World, locked: Locked) -> None:
    await world.claim()
    cancelled, *_ = world.ids
    await world.control.cancel([cancelled], "", ALL_TENANTS)
    unknown = uuid7()
    with locked():
        kept = await world.runs.renew(Renewal([LEASE], [*world.ids, unknown], MINUTE), ALL_TENANTS)
    assert kept.not_renewed == {cancelled: LeaseEnd.CANCELLED, unknown: LeaseEnd.LOST}


async def test_the_results_of_the_others_are_recorded(world: World, locked: Locked) -> None:
    await world.claim()
    with locked():
        results = await world.complete()
    only_the_locked_one_is_refused(world, results)
    assert sum(isinstance(one, Recorded) for one in results) == OTHERS
    # The same report again, when the row is free: recorded results are returned as before.
    assert all(isinstance(one, Recorded) for one in await world.complete())


async def test_the_charges_of_the_others_are_settled(world: World, locked: Locked) -> None:
    await world.claim()
    await world.complete()
    with locked():
        results = await world.runs.settle([Charged(one, uuid7()) for one in world.ids], ALL_TENANTS)
    only_the_locked_one_is_refused(world, results)
    assert results.count(BillingStatus.CHARGED) == OTHERS


async def test_the_others_are_handed_back(world: World, locked: Locked) -> None:
    await world.claim()
    with locked():
        results = await world.runs.give_back([Return(one, LEASE) for one in world.ids], ALL_TENANTS)
    only_the_locked_one_is_refused(world, results)
    assert results.count(JobStatus.PENDING) == OTHERS


async def test_the_others_are_cancelled_and_run_again(world: World, locked: Locked) -> None:
    with locked():
        results = await world.control.cancel(world.ids, "", ALL_TENANTS)
    only_the_locked_one_is_refused(world, results)
    await world.control.cancel(world.ids, "", ALL_TENANTS)
    with locked():
        results = await world.control.retry(world.ids, ALL_TENANTS)
    only_the_locked_one_is_refused(world, results)
    statuses = [job.status for job in (await world.stored()).values()]
    assert statuses.count(JobStatus.PENDING) == OTHERS


async def test_the_others_are_withheld_rescued_and_taken_by_the_chores(world: World, locked: Locked) -> None:
    jobs, transactions = world.work.jobs, world.work.transactions
    with locked():
        async with transactions.begin():
            await jobs.withhold(world.ids)
    assert sum(job.dispatched_at is None for job in (await world.stored()).values()) == OTHERS
    await world.claim(lease=timedelta(0))
    with locked():
        while await world.rescuer.round():
            pass
    statuses = [job.status for job in (await world.stored()).values()]
    assert (statuses.count(JobStatus.PENDING), statuses.count(JobStatus.RUNNING)) == (OTHERS, 1)
    await world.claim()
    await world.complete()
    with locked():
        async with transactions.begin():
            due = await jobs.take_unsettled(2 * OTHERS, timedelta(0), MINUTE)
    assert {one.job_id for one in due} == {*world.ids} - {world.stuck}
