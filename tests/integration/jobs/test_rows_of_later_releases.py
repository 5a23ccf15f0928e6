"""Jobs with values that a later release wrote, beside others: on PostgreSQL, without the CHECKs that it has changed."""

from collections import OrderedDict
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from services.jobs.background.expiry import Expiry
from services.jobs.background.gauges import Gauges
from services.jobs.background.rescuer import Rescuer
from services.jobs.background.retention import Retention
from services.jobs.background.settler import Settler
from services.jobs.rules.entities import BillingStatus, Job, JobStatus
from services.jobs.rules.resources import JOBS
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.transitions.completion import Charged, Completion
from services.jobs.rules.transitions.deaths import DeathRules
from services.jobs.rules.transitions.leasing import Claim
from services.jobs.usecases.queries import QueryService
from services.jobs.usecases.run import Recorded, Return
from services.kit.auth.tenants import ALL_TENANTS
from services.kit.data import corrupt
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.errors import DataCorrupt
from services.kit.query.page import ListQuery
from tests.support.jobs_examples import MINUTE, NOW, new_job, new_job_type
from tests.support.jobs_usecases import control_service, run_service
from tests.support.jobs_work import (
    ChangesForTests,
    QueueForTests,
    WalletsForTests,
    sql_work,
)

AGO = timedelta(seconds=-1)
# What a later release may write, each in a row of its own; and an error whose field it has dropped.
LATER: dict[str, str] = {
    "billing_status": "billing_status = 'CHARGE_LATER'",
    "priority": "priority = 7",
    "error": """error = '{"message": "no", "retryable": true, "attempt": 1, "at": "2026-01-01T00:00:00Z"}'""",
    "error of another shape": "error = '[]'",
    "error of another type": """error = '{"type": 1, "message": "", "retryable": true, "attempt": 1, "at": ""}'""",
    "labels": "labels = '{\"n\": 1}'",
}


class World:
    """A replica of this release, and what a later one has done to some rows."""

    def __init__(self, database: Database, url: str) -> None:
        self.url = url
        self.transactions = SqlTransactions(database)
        self.work = sql_work(self.transactions)
        self.changes, self.queue, self.wallets = ChangesForTests(), QueueForTests(), WalletsForTests()
        self.runs = run_service(self.work, self.queue, self.changes, AGO)
        self.control = control_service(self.work, self.queue, self.changes, self.wallets)
        self.rescuer = Rescuer(
            self.transactions,
            self.work.jobs,
            self.queue,
            self.changes,
            deaths=DeathRules(deaths_max=5),
            every=MINUTE,
            grace=timedelta(0),
        )
        self.expiry = Expiry(self.transactions, self.work.jobs, self.changes)
        self.settler = Settler(self.transactions, self.work.jobs, self.runs, self.wallets, settle_after=AGO)
        with psycopg.connect(url, autocommit=True) as connection:
            for check in ("billing_status_known", "priority_known", "status_known", "billing_fits_status"):
                connection.execute(f"ALTER TABLE jobs DROP CONSTRAINT ck_jobs_{check}")
            connection.execute("ALTER TABLE jobs DROP CONSTRAINT ck_jobs_completed_when_final")

    async def stored(self, count: int, **values: Any) -> list[UUID]:
        async with self.transactions.begin():
            job_type = await self.work.job_types.create(new_job_type())
            jobs = [new_job(job_type.id, **values) for _ in range(count)]
            await self.work.jobs.create_many(jobs)
        return [job.id for job in jobs]

    async def claimed(self, ids: list[UUID], lease: timedelta = AGO) -> UUID:
        lease_id = uuid7()
        await self.runs.claim(Claim(ids, uuid7(), lease_id, lease, 10**9), ALL_TENANTS)
        return lease_id

    def spoil(self, job_id: UUID, change: str) -> None:
        """Has a later release write something."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"UPDATE jobs SET {change} WHERE id = %s", [job_id])

    def raw(self, job_id: UUID) -> dict[str, Any]:
        """Return the row as it is."""
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute("SELECT to_jsonb(jobs) - 'queued_at' FROM jobs WHERE id = %s", [job_id])
            [row] = cursor.fetchone() or [{}]
        return dict(row)

    async def statuses(self, ids: list[UUID]) -> list[JobStatus | type[DataCorrupt]]:
        async with self.transactions.begin(read_only=True):
            found = await self.work.jobs.get_many(ids)
        jobs = [found[one] for one in ids]
        return [job.status if isinstance(job, Job) else type(job) for job in jobs]


@pytest.fixture
def world(databases: list[Database], jobs_url: str, monkeypatch: pytest.MonkeyPatch) -> World:
    """One replica on a database of its own. What other tests have logged is forgotten."""
    monkeypatch.setattr(corrupt, "_logged", OrderedDict())
    return World(databases[0], jobs_url)


@pytest.mark.parametrize("bad", LATER)
async def test_a_job_that_is_not_understood_is_not_rescued_and_all_others_are(world: World, bad: str) -> None:
    ids = await world.stored(3)
    await world.claimed(ids)
    world.spoil(ids[1], LATER[bad])
    before = world.raw(ids[1])
    for _ in range(2):
        await world.rescuer.round()
    assert await world.statuses([ids[0], ids[2]]) == [JobStatus.PENDING] * 2
    assert world.raw(ids[1]) == before


@pytest.mark.parametrize("bad", LATER)
async def test_a_job_that_is_not_understood_does_not_expire_and_all_others_do(world: World, bad: str) -> None:
    ids = await world.stored(3, expires_at=NOW)
    world.spoil(ids[1], LATER[bad])
    before = world.raw(ids[1])
    for _ in range(2):
        await world.expiry.round()
    assert await world.statuses([ids[0], ids[2]]) == [JobStatus.CANCELLED] * 2
    assert world.raw(ids[1]) == before


@pytest.mark.parametrize("bad", LATER)
async def test_a_job_that_is_not_understood_is_not_claimed_and_all_others_are(world: World, bad: str) -> None:
    ids = await world.stored(3)
    world.spoil(ids[1], LATER[bad])
    claimed = await world.runs.claim(Claim(ids, uuid7(), uuid7(), MINUTE, 10**9), ALL_TENANTS)
    assert [one.job.id for one in claimed.jobs] == [ids[0], ids[2]]
    assert [one.entity_id for one in claimed.corrupt] == [str(ids[1])]
    assert world.raw(ids[1])["status"] == "PENDING"


@pytest.mark.parametrize("bad", LATER)
async def test_each_completion_of_a_batch_has_its_own_answer(world: World, bad: str) -> None:
    ids = await world.stored(3)
    lease_id = await world.claimed(ids, MINUTE)
    world.spoil(ids[1], LATER[bad])
    done = [Completion(job_id=one, lease_id=lease_id, outcome=Payload("1", 0)) for one in ids]
    assert [type(one) for one in await world.runs.complete(done, ALL_TENANTS)] == [Recorded, DataCorrupt, Recorded]
    assert world.raw(ids[1])["status"] == "RUNNING"
    returned = await world.runs.give_back([Return(one, lease_id) for one in ids], ALL_TENANTS)
    assert isinstance(returned[1], DataCorrupt)


async def test_each_settlement_of_a_batch_has_its_own_answer(world: World) -> None:
    ids = await world.stored(3)
    lease_id = await world.claimed(ids, MINUTE)
    await world.runs.complete(
        [Completion(job_id=one, lease_id=lease_id, outcome=Payload("1", 0)) for one in ids], ALL_TENANTS
    )
    world.spoil(ids[1], LATER["billing_status"])
    settled = await world.runs.settle([Charged(one, uuid7()) for one in ids], ALL_TENANTS)
    assert [type(one) for one in settled] == [BillingStatus, DataCorrupt, BillingStatus]


@pytest.mark.parametrize("bad", LATER)
async def test_each_cancellation_of_a_batch_has_its_own_answer(world: World, bad: str) -> None:
    ids = await world.stored(3)
    world.spoil(ids[1], LATER[bad])
    assert [type(one) for one in await world.control.cancel(ids, "", ALL_TENANTS)] == [Job, DataCorrupt, Job]
    assert world.raw(ids[1])["status"] == "PENDING"
    assert [type(one) for one in await world.control.retry(ids, ALL_TENANTS)][1] is DataCorrupt


async def test_a_charge_of_a_job_with_an_unknown_status_is_not_made_and_others_are(world: World) -> None:
    ids = await world.stored(3)
    lease_id = await world.claimed(ids, MINUTE)
    await world.runs.complete(
        [Completion(job_id=one, lease_id=lease_id, outcome=Payload("1", 0)) for one in ids], ALL_TENANTS
    )
    world.spoil(ids[1], "priority = 7")
    await world.settler.round()
    assert {one.job_id for charges in world.wallets.charged for one in charges} == {ids[0], ids[2]}
    retention = Retention(world.transactions, world.work.jobs, age=AGO)
    await retention.round()
    assert [bool(world.raw(one)) for one in ids] == [False, True, False]


async def test_a_job_that_is_asked_for_by_its_id_is_answered_as_not_understood(world: World) -> None:
    [job_id] = await world.stored(1)
    world.spoil(job_id, LATER["priority"])
    service = QueryService(world.transactions, world.work.jobs, world.work.job_types, world.work.runners)
    for full in (True, False):
        with pytest.raises(DataCorrupt) as raised:
            await service.get(job_id, ALL_TENANTS, full=full)
        assert (raised.value.entity_id, raised.value.field) == (str(job_id), "priority")


@pytest.mark.parametrize("page_size", [1, 2, 3, 50])
@pytest.mark.parametrize("bad", [range(10), range(3), range(7, 10), range(2, 6), ()])
async def test_a_list_leaves_out_what_is_not_understood_and_ends(world: World, bad: Any, page_size: int) -> None:
    ids = await world.stored(10)
    for at in bad:
        world.spoil(ids[at], LATER["billing_status"])
    ordering = JOBS.with_tie_breaker([])
    found: list[UUID] = []
    cursor, pages = None, 0
    while True:
        async with world.transactions.begin(read_only=True):
            query = ListQuery(ordering, page_size=page_size, cursor=cursor)
            page = await world.work.jobs.list_page(query)
        assert len(page.items) <= page_size
        found += [job.id for job in page.items]
        cursor, pages = page.next_cursor, pages + 1
        assert pages <= 11
        if cursor is None:
            break
    assert sorted(found) == sorted(ids[at] for at in range(10) if at not in bad)


async def test_a_list_that_is_sorted_by_what_is_not_understood_ends_as_well(world: World) -> None:
    ids = await world.stored(6)
    for at, priority in enumerate((7, -1, 8)):
        world.spoil(ids[at], f"priority = {priority}")
    by_priority = next(field for field in JOBS.fields if field.name == "priority")
    ordering = JOBS.with_tie_breaker([by_priority.descending()])
    found: list[UUID] = []
    query = ListQuery(ordering, page_size=1)
    for _ in range(10):
        async with world.transactions.begin(read_only=True):
            page = await world.work.jobs.list_page(query)
        found += [job.id for job in page.items]
        if page.next_cursor is None:
            break
        query = ListQuery(ordering, page_size=1, cursor=page.next_cursor)
    assert sorted(found) == sorted(ids[3:])


async def test_what_is_not_understood_is_counted_and_logged_once_with_its_id(world: World) -> None:
    ids = await world.stored(2)
    world.spoil(ids[0], LATER["priority"])
    before = REGISTRY.get_sample_value("innosystem_data_corrupt_total", {"entity": "jobs"}) or 0
    with capture_logs() as logs:
        for _ in range(3):
            await world.statuses(ids)
    assert REGISTRY.get_sample_value("innosystem_data_corrupt_total", {"entity": "jobs"}) == before + 3
    [line] = [one for one in logs if one["event"] == "row_not_understood"]
    assert (line["entity_id"], line["field"], line["value"]) == (str(ids[0]), "priority", "7")


async def test_jobs_that_no_chore_takes_can_be_seen(world: World) -> None:
    lost, expired = await world.stored(2), await world.stored(2, expires_at=NOW)
    await world.claimed(lost)
    for one in (*lost, *expired):
        world.spoil(one, LATER["priority"])
    with capture_logs() as logs:
        await Gauges(world.transactions, world.work.jobs).round()
    assert REGISTRY.get_sample_value("innosystem_jobs_left_alone") == 4
    logged = {one["entity_id"] for one in logs if one["event"] == "row_not_understood"}
    assert logged == {str(one) for one in (*lost, *expired)}


async def test_lists_of_an_unknown_priority_are_passed_by(world: World) -> None:
    ids = await world.stored(3)
    world.spoil(ids[1], LATER["priority"])
    async with world.transactions.begin():
        assert len(await world.work.jobs.dispatched_lists()) == 1
        await world.work.jobs.withhold(ids)
    async with world.transactions.begin():
        assert len(await world.work.jobs.withheld_lists()) == 1
