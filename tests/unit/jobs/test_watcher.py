"""One stream of states of a job, and what changes while they are read."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from unittest.mock import AsyncMock
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from services.jobs.rules.entities import Job, JobStatus
from services.jobs.rules.transitions.leasing import Claim
from services.jobs.usecases.watch import Watching, _Watcher
from services.kit.auth.tenants import ALL_TENANTS
from services.kit.data.transactions.memory import MemoryTransactions
from services.kit.errors import DatabaseUnavailable, DataCorrupt
from tests.support.jobs_examples import MINUTE, new_job, new_job_type, stored_job
from tests.support.jobs_work import JobsWork, memory_work


async def test_the_last_state_is_told_also_if_the_job_is_gone_by_then() -> None:
    watcher = _Watcher()
    job = stored_job()
    done = replace(job, status=JobStatus.SUCCEEDED, version=job.version + 1)
    watcher.offer(job)
    assert await watcher.next() == job
    watcher.offer(done)
    watcher.offer(None)
    assert await watcher.next() == done
    assert await watcher.next() is None


async def test_a_state_that_is_older_than_the_last_is_not_told() -> None:
    watcher = _Watcher()
    job = replace(stored_job(), version=3)
    watcher.offer(job)
    watcher.offer(replace(job, version=2))
    watcher.offer(None)
    assert await watcher.next() == job
    assert await watcher.next() is None


@pytest.fixture
async def watched() -> AsyncIterator[tuple[Watching, JobsWork, UUID, AsyncIterator[Job]]]:
    """Store a waiting job, and open a stream that has yielded it."""
    transactions = MemoryTransactions()
    work = memory_work(transactions)
    watching = Watching(transactions, work.jobs)
    async with transactions.begin():
        job = new_job((await work.job_types.create(new_job_type())).id)
        await work.jobs.create_many([job])
    async with aclosing(watching.watch(job.id, ALL_TENANTS)) as states:
        assert (await anext(states)).status is JobStatus.PENDING
        yield watching, work, job.id, states


async def test_a_change_that_comes_while_the_job_is_read_is_told_next(
    watched: tuple[Watching, JobsWork, UUID, AsyncIterator[Job]], monkeypatch: pytest.MonkeyPatch
) -> None:
    watching, work, job_id, states = watched
    get_many = work.jobs.get_many

    async def changed_right_after(ids: Iterable[UUID]) -> Mapping[UUID, Job | DataCorrupt]:
        found = await get_many(ids)
        monkeypatch.setattr(work.jobs, "get_many", get_many)
        await work.jobs.claim(Claim([job_id], uuid7(), uuid7(), MINUTE, 1000))
        watching.notice([job_id])
        return found

    monkeypatch.setattr(work.jobs, "get_many", changed_right_after)
    watching.notice([job_id])
    await watching._offer_changed()
    await watching._offer_changed()
    async with asyncio.timeout(5):
        assert (await anext(states)).status is JobStatus.RUNNING


async def test_a_change_that_could_not_be_read_is_told_later(
    watched: tuple[Watching, JobsWork, UUID, AsyncIterator[Job]], monkeypatch: pytest.MonkeyPatch
) -> None:
    watching, work, job_id, states = watched
    async with work.transactions.begin():
        await work.jobs.claim(Claim([job_id], uuid7(), uuid7(), MINUTE, 1000))
    watching.notice([job_id])
    with monkeypatch.context() as patched:
        patched.setattr(work.jobs, "get_many", AsyncMock(side_effect=DatabaseUnavailable))
        with pytest.raises(DatabaseUnavailable):
            await watching._offer_changed()
    await watching._offer_changed()
    async with asyncio.timeout(5):
        assert (await anext(states)).status is JobStatus.RUNNING
