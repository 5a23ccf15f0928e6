"""Concurrent batches that name the same jobs in different orders wait for one another, but never in a circle."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from services.jobs.background.rescuer import Rescuer
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.transitions.changes import Failure
from services.jobs.rules.transitions.completion import Charged, Completion
from services.jobs.rules.transitions.deaths import DeathRules
from services.jobs.rules.transitions.leasing import Claim, Renewal
from services.jobs.usecases.run import Return
from services.kit.auth.tenants import ALL_TENANTS
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from tests.support.jobs_examples import MINUTE, new_job, new_job_type
from tests.support.jobs_usecases import control_service, run_service
from tests.support.jobs_work import (
    ChangesForTests,
    JobsWork,
    QueueForTests,
    sql_work,
)

JOBS = 300
ROUNDS = 5

Batch = Callable[[Sequence[UUID]], Awaitable[object]]


class Process:
    """The use cases that change jobs, in one process of the jobs service."""

    def __init__(self, database: Database) -> None:
        self.work: JobsWork = sql_work(SqlTransactions(database))
        transactions, jobs, changes = self.work.transactions, self.work.jobs, ChangesForTests()
        self._runs = run_service(self.work, QueueForTests(), changes)
        self._control = control_service(self.work, QueueForTests(), changes)
        self._rescuer = Rescuer(
            transactions,
            jobs,
            QueueForTests(),
            changes,
            deaths=DeathRules(deaths_max=1000, wait=timedelta(0)),
            every=timedelta(seconds=1),
            grace=timedelta(0),
        )
        self._lease_id = uuid7()
        # Leases that end immediately, so that the rescuer has work to do.
        self._lease = timedelta(0)

    def batches(self) -> list[Batch]:
        """All operations on many jobs."""
        return [
            self.claim,
            self.renew,
            self.complete,
            self.give_back,
            self.settle,
            self.cancel,
            self.retry,
            self.withhold,
            self.take,
            self.rescue,
        ]

    async def claim(self, ids: Sequence[UUID]) -> object:
        return await self._runs.claim(Claim(ids, uuid7(), self._lease_id, self._lease, 10**9), ALL_TENANTS)

    async def renew(self, ids: Sequence[UUID]) -> object:
        return await self._runs.renew(Renewal([self._lease_id], ids, self._lease), ALL_TENANTS)

    async def complete(self, ids: Sequence[UUID]) -> object:
        failure = Failure(type="E", message="no", retryable=True, retry_after=timedelta(0))
        half = len(ids) // 2
        done = [Completion(job_id=one, lease_id=self._lease_id, outcome=Payload("1", 0)) for one in ids[:half]]
        failed = [Completion(job_id=one, lease_id=self._lease_id, outcome=failure) for one in ids[half:]]
        return await self._runs.complete([*done, *failed], ALL_TENANTS)

    async def give_back(self, ids: Sequence[UUID]) -> object:
        return await self._runs.give_back([Return(one, self._lease_id) for one in ids], ALL_TENANTS)

    async def settle(self, ids: Sequence[UUID]) -> object:
        return await self._runs.settle([Charged(one, uuid7()) for one in ids], ALL_TENANTS)

    async def cancel(self, ids: Sequence[UUID]) -> object:
        return await self._control.cancel(ids, "", ALL_TENANTS)

    async def retry(self, ids: Sequence[UUID]) -> object:
        return await self._control.retry(ids, ALL_TENANTS)

    async def withhold(self, ids: Sequence[UUID]) -> None:
        async with self.work.transactions.begin():
            await self.work.jobs.withhold(ids)

    async def take(self, _ids: Sequence[UUID]) -> object:
        async with self.work.transactions.begin():
            await self.work.jobs.release_scheduled(JOBS)
            for key in await self.work.jobs.withheld_lists():
                await self.work.jobs.take_withheld(key, JOBS)
            return await self.work.jobs.take_unsettled(JOBS, timedelta(0), MINUTE)

    async def rescue(self, _ids: Sequence[UUID]) -> object:
        return await self._rescuer.round()


@pytest.fixture
async def job_ids(databases: list[Database]) -> list[UUID]:
    """Return waiting jobs whose rows are not in the order of their IDs."""
    work = sql_work(SqlTransactions(databases[0]))
    async with work.transactions.begin():
        job_type = await work.job_types.create(new_job_type())
    jobs = [new_job(job_type.id, max_attempts=100) for _ in range(JOBS)]
    for _ in range(3):
        shuffled = random.sample(jobs, JOBS)
        # In several transactions, since each inserts in the order of the IDs.
        for start in range(0, JOBS, 10):
            async with work.transactions.begin():
                await work.jobs.create_many(shuffled[start : start + 10])
    return [job.id for job in jobs]


async def test_no_two_batches_ever_wait_for_each_other(databases: list[Database], job_ids: list[UUID]) -> None:
    processes = [Process(database) for database in databases]

    async def again_and_again(batch: Batch) -> None:
        for _ in range(ROUNDS):
            await batch(random.sample(job_ids, JOBS))

    batches = [batch for process in processes for batch in process.batches()]
    await asyncio.gather(*(again_and_again(batch) for batch in batches))
