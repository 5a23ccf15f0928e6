"""What keeps replicas of the jobs service out of each other's way, on real PostgreSQL."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from uuid_utils.compat import uuid7

from services.jobs.background.reconciler import Reconciler
from services.jobs.rules.entities import BillingStatus, JobStatus, ListKey
from services.jobs.rules.job_types import Priority
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.transitions.completion import BillingChange, Completion, ending
from services.jobs.rules.transitions.leasing import Claim
from services.kit.data.corrupt import all_understood
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.settings import DatabaseSettings
from tests.support.jobs_examples import MINUTE, NOW, new_job, new_job_type
from tests.support.jobs_lists import ListsForTests
from tests.support.jobs_work import JobsWork, sql_work
from tests.support.until import until

LIMIT_SECONDS = 15
MEDIUM = ListKey("default", Priority.MEDIUM)
HOUR = timedelta(hours=1)


@pytest.fixture
def replicas(databases: list[Database]) -> list[JobsWork]:
    """Two replicas."""
    return [sql_work(SqlTransactions(database)) for database in databases]


async def stored(work: JobsWork, count: int, *, withheld: bool = False, **values: object) -> list[UUID]:
    async with work.transactions.begin():
        job_type = await work.job_types.create(new_job_type())
        jobs = [new_job(job_type.id, **values) for _ in range(count)]
        await work.jobs.create_many(jobs, {job.id for job in jobs} if withheld else ())
    return [job.id for job in jobs]


async def succeeded(work: JobsWork, count: int, settle_after: timedelta = -MINUTE) -> list[UUID]:
    ids, lease_id = await stored(work, count), uuid7()
    async with work.transactions.begin():
        claimed = await work.jobs.claim(Claim(ids, uuid7(), lease_id, MINUTE, 10**9))
        done = [Completion(job_id=one.job.id, lease_id=lease_id, outcome=Payload("1", 0)) for one in claimed.jobs]
        ends = [
            ending(claimed.job, one, settle_after=settle_after) for one, claimed in zip(done, claimed.jobs, strict=True)
        ]
        await work.jobs.apply(ends)
    return ids


async def test_one_replica_at_a_time_has_the_turn_at_a_list(replicas: list[JobsWork]) -> None:
    one, other = replicas

    async def turns(work: JobsWork) -> Sequence[bool]:
        return [await work.jobs.try_turn(key) for key in (MEDIUM, ListKey("mail", Priority.LOW))]

    async with one.transactions.begin(read_only=True):
        assert await one.jobs.try_turn(MEDIUM)
        assert await asyncio.create_task(in_a_transaction(other, turns)) == [False, True]
    assert await in_a_transaction(other, turns) == [True, True]


def reconciler(work: JobsWork, lists: ListsForTests) -> Reconciler:
    return Reconciler(work.transactions, work.jobs, lists, window=100, apart=timedelta(0))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count a missing ID as lost in the first round."""
    monkeypatch.setattr("services.jobs.background.reconciler._GRACE", -MINUTE)


@pytest.mark.usefixtures("at_once")
async def test_a_lost_id_is_pushed_again_by_a_process_with_a_single_connection_under_load(jobs_url: str) -> None:
    settings = DatabaseSettings(url=SecretStr(jobs_url), pool_size=1)
    database = Database.connect(settings, application_name="test-one")
    work, lists = sql_work(SqlTransactions(database)), ListsForTests()
    stop = asyncio.Event()
    [lost] = await stored(work, 1)

    async def load() -> None:
        while not stop.is_set():
            async with work.transactions.begin(read_only=True):
                await work.jobs.get_many([lost])

    busy = [asyncio.create_task(load()) for _ in range(8)]
    async with asyncio.timeout(LIMIT_SECONDS):
        for _ in range(10):
            await reconciler(work, lists).round()
    stop.set()
    await asyncio.gather(*busy)
    await database.close()
    assert lists.held[MEDIUM] == [lost]


FROZEN = """
import asyncio, sys
from datetime import timedelta
from pydantic import SecretStr
from services.jobs.rules.entities import ListKey
from services.jobs.rules.job_types import Priority
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.settings import DatabaseSettings
from tests.support.jobs_lists import ListsForTests
from tests.support.jobs_work import sql_work
from tests.support.until import until

async def main():
    settings = DatabaseSettings(url=SecretStr(sys.argv[1]), idle_in_transaction_timeout_seconds=float(sys.argv[2]))
    work = sql_work(SqlTransactions(Database.connect(settings, application_name="test-frozen")))
    async with work.transactions.begin(read_only=True):
        print(await work.jobs.try_turn(ListKey("default", Priority.MEDIUM)), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.usefixtures("at_once")
async def test_a_replica_that_is_frozen_in_its_turn_loses_it_when_its_transaction_has_been_idle_for_long_enough(
    replicas: list[JobsWork], jobs_url: str
) -> None:
    _, other = replicas
    lists, idle_seconds = ListsForTests(), 5.0
    [lost] = await stored(other, 1)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FROZEN, jobs_url, str(idle_seconds)), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert (await process.stdout.readline()).strip() == b"True"
        process.send_signal(signal.SIGSTOP)
        reconciling = reconciler(other, lists)
        await reconciling.round()
        assert lists.pushed == []

        async def pushed() -> bool:
            await reconciling.round()
            return bool(lists.pushed)

        await until(pushed)
    finally:
        process.kill()
        await process.communicate()
    assert lists.held[MEDIUM] == [lost]


async def test_what_one_replica_is_at_the_other_passes_by_without_waiting(replicas: list[JobsWork]) -> None:
    one, other = replicas
    customer_id = uuid7()
    await stored(one, 4, withheld=True, customer_id=customer_id)
    await stored(one, 4, status=JobStatus.SCHEDULED, run_at=NOW)
    await stored(one, 4, expires_at=NOW)
    await succeeded(one, 4)
    lost = await stored(one, 4)
    async with one.transactions.begin():
        await one.jobs.claim(Claim(lost, uuid7(), uuid7(), -MINUTE, 10**9))

    async def found(work: JobsWork) -> Sequence[int]:
        return (
            len((await work.jobs.take_withheld(MEDIUM, 3)).jobs),
            len(await work.jobs.release_scheduled(3)),
            len(await work.jobs.lock_expired(3)),
            len(await work.jobs.take_unsettled(3, MINUTE, HOUR)),
            len(await work.jobs.lock_lost(3)),
        )

    async with asyncio.timeout(LIMIT_SECONDS), one.transactions.begin():
        assert await found(one) == (3, 3, 3, 3, 3)
        # A task of its own, because a transaction is found through its context.
        assert await asyncio.create_task(in_a_transaction(other, found)) == (1, 1, 1, 1, 1)


async def in_a_transaction(work: JobsWork, found: Callable[[JobsWork], Awaitable[Sequence[int]]]) -> Sequence[int]:
    async with work.transactions.begin():
        return await found(work)


async def test_a_charge_of_a_release_that_knew_no_settler_is_due_and_is_taken_first(
    replicas: list[JobsWork], jobs_url: str
) -> None:
    one, _ = replicas
    newer, older = await succeeded(one, 2)
    with psycopg.connect(jobs_url, autocommit=True) as connection:
        connection.execute("UPDATE jobs SET next_try_at = NULL WHERE id = %s", [older])
    taken = []
    for _ in range(3):
        async with one.transactions.begin():
            taken += [charge.job_id for charge in await one.jobs.take_unsettled(1, MINUTE, HOUR)]
    assert taken == [older, newer]


@pytest.mark.parametrize(("tries", "seconds"), [(0, 10), (1, 20), (4, 160), (9, 3600), (1000, 3600)])
async def test_a_charge_is_put_off_by_a_wait_that_doubles_with_each_try_up_to_the_longest(
    replicas: list[JobsWork], jobs_url: str, tries: int, seconds: float
) -> None:
    one, _ = replicas
    [job_id] = await succeeded(one, 1)
    with psycopg.connect(jobs_url, autocommit=True) as connection:
        connection.execute("UPDATE jobs SET settle_attempts = %s", [tries])
        async with one.transactions.begin():
            assert len(await one.jobs.take_unsettled(1, timedelta(seconds=10), HOUR)) == 1
        row = connection.execute(
            "SELECT settle_attempts, EXTRACT(EPOCH FROM next_try_at - now()) FROM jobs WHERE id = %s", [job_id]
        ).fetchone()
    assert row is not None
    assert row[0] == tries + 1
    assert seconds - LIMIT_SECONDS < float(row[1]) <= seconds


async def test_a_receipt_of_a_charged_job_is_kept_when_it_is_deleted_and_of_no_other(
    replicas: list[JobsWork], jobs_url: str
) -> None:
    one, _ = replicas
    charged, _due = await succeeded(one, 2)
    transaction_id = uuid7()
    async with one.transactions.begin():
        paid = BillingChange(job_id=charged, billing_status=BillingStatus.CHARGED, transaction_id=transaction_id)
        await one.jobs.apply([paid])
        [job] = all_understood((await one.jobs.get_many([charged])).values())
    async with one.transactions.begin():
        assert await one.jobs.delete_many(await one.jobs.lock_finished(-MINUTE, 10)) == 1
    with psycopg.connect(jobs_url) as connection:
        receipts = connection.execute(
            "SELECT job_id, customer_id, currency, cost_cents, transaction_id, completed_at FROM receipts"
        ).fetchall()
    assert receipts == [(charged, job.customer_id, "EUR", 5, transaction_id, job.completed_at)]


async def test_the_limit_of_a_chore_holds_whatever_plan_is_made(replicas: list[JobsWork]) -> None:
    one, _ = replicas
    async with one.transactions.begin():
        job_type = await one.job_types.create(new_job_type())
        due = [new_job(job_type.id, status=JobStatus.SCHEDULED, run_at=NOW) for _ in range(20)]
        await one.jobs.create_many(due)
    async with one.transactions.begin():
        for method in ("hashjoin", "mergejoin", "hashagg", "sort", "material", "bitmapscan", "indexscan"):
            await one.transactions.resource.execute(text(f"SET LOCAL enable_{method} = off"))
        taken = [len(await one.jobs.release_scheduled(3)) for _ in range(2)]
    assert taken == [3, 3]
