"""Many concurrent callers on real PostgreSQL, over the pools that two processes of the jobs service would have."""

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from services.jobs.clients.caches import CachedJobTypes
from services.jobs.clients.schema_checks import IsolatedSchemaChecks
from services.jobs.rules.entities import Job
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.submission import Submission
from services.jobs.rules.transitions.completion import Completion, ending
from services.jobs.rules.transitions.leasing import Claim, Claimed
from services.jobs.usecases.submission.known_jobs import Submitted
from services.jobs.usecases.submission.submit import SubmitService
from services.kit.auth.tenants import ALL_TENANTS
from services.kit.data.corrupt import all_understood
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.errors import DomainError
from services.kit.settings import CacheSettings
from tests.support.jobs_examples import MINUTE, new_job_type
from tests.support.jobs_work import QueueForTests, WalletsForTests, sql_work

CALLERS = 16


class EveryCustomer:
    """A customers service that knows everybody."""

    async def active(self, customer_ids: Collection[UUID]) -> dict[UUID, bool | DomainError]:
        return dict.fromkeys(customer_ids, True)


@pytest.fixture
async def job_type(databases: list[Database]) -> str:
    new = new_job_type()
    work = sql_work(SqlTransactions(databases[0]))
    async with work.transactions.begin():
        await work.job_types.create(new)
    return new.name


def service(database: Database, queue: QueueForTests) -> SubmitService:
    work = sql_work(SqlTransactions(database))
    return SubmitService(
        work.transactions,
        work.jobs,
        job_types=CachedJobTypes(work.transactions, work.job_types, CacheSettings()),
        customers=EveryCustomer(),
        reservations=WalletsForTests().reservations(),
        queue=queue,
        now=lambda: datetime.now(UTC),
        checks=IsolatedSchemaChecks(),
    )


async def submitted(database: Database, job_type: str, count: int) -> list[UUID]:
    batch = [Submission(job_id=uuid7(), customer_id=uuid7(), job_type=job_type) for _ in range(count)]
    results = await service(database, QueueForTests()).submit(batch, ALL_TENANTS)
    assert all(isinstance(one, Submitted) for one in results)
    return [one.job_id for one in batch]


async def test_a_job_type_that_is_being_changed_holds_up_no_submission(
    databases: list[Database], job_type: str
) -> None:
    work = sql_work(SqlTransactions(databases[0]))
    # As by a process that froze in the middle of it.
    async with work.transactions.begin():
        known = await work.job_types.get_by_name(job_type)
        assert known is not None
        await work.job_types.update(replace(known, paused=True))
        async with asyncio.timeout(5):
            await submitted(databases[1], job_type, 1)


async def claimed(database: Database, job_ids: Sequence[UUID], lease_id: UUID) -> Claimed:
    work = sql_work(SqlTransactions(database))
    async with work.transactions.begin():
        return await work.jobs.claim(Claim(job_ids, uuid7(), lease_id, MINUTE, 1_000_000))


async def test_one_id_submitted_by_many_at_once_is_one_job_and_one_push(
    databases: list[Database], job_type: str
) -> None:
    queue = QueueForTests()
    services = [service(database, queue) for database in databases]
    batch = [Submission(job_id=uuid7(), customer_id=uuid7(), job_type=job_type) for _ in range(5)]
    responses = await asyncio.gather(*(services[n % 2].submit(batch, ALL_TENANTS) for n in range(CALLERS)))

    for response in zip(*responses, strict=True):
        jobs = [one for one in response if isinstance(one, Submitted)]
        assert len(jobs) == CALLERS
        assert len({one.job.created_at for one in jobs}) == 1
        assert Counter(one.replayed for one in jobs) == {False: 1, True: CALLERS - 1}
    assert sorted(one.id for one in queue.jobs) == sorted(one.job_id for one in batch)


async def test_jobs_claimed_by_many_at_once_are_each_claimed_once(databases: list[Database], job_type: str) -> None:
    ids = await submitted(databases[0], job_type, 100)
    orders = [ids[n:] + ids[:n] for n in range(0, 100, 7)]
    responses = await asyncio.gather(*(claimed(databases[n % 2], order, uuid7()) for n, order in enumerate(orders)))

    granted = Counter(one.job.id for response in responses for one in response.jobs)
    assert granted == dict.fromkeys(ids, 1)


async def test_a_claim_repeated_while_the_first_is_at_work_gets_the_same_jobs(
    databases: list[Database], job_type: str
) -> None:
    ids = await submitted(databases[0], job_type, 20)
    lease_id = uuid7()
    responses = await asyncio.gather(*(claimed(databases[n % 2], ids, lease_id) for n in range(4)))

    assert all({one.job.id for one in response.jobs} == set(ids) for response in responses)
    assert {one.job.attempt for response in responses for one in response.jobs} == {1}


async def test_two_completions_at_once_are_decided_one_after_the_other(
    databases: list[Database], job_type: str
) -> None:
    [job_id] = await submitted(databases[0], job_type, 1)
    lease_id = uuid7()
    await claimed(databases[0], [job_id], lease_id)

    async def seen(database: Database) -> Job:
        work = sql_work(SqlTransactions(database))
        async with work.transactions.begin():
            [job] = all_understood((await work.jobs.lock_many([job_id])).values())
            if job.lease_id == lease_id:
                completion = Completion(job_id=job_id, lease_id=lease_id, outcome=Payload("1", 0))
                await work.jobs.apply([ending(job, completion, settle_after=MINUTE)])
        return job

    states = await asyncio.gather(*(seen(database) for database in databases))
    assert sorted(job.status for job in states) == ["RUNNING", "SUCCEEDED"]
