"""A key of another type under one list's name, in a real Redis: the reconciler still compares the other lists."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import redis.asyncio as redis
from pydantic import SecretStr

from innosystem.shared.queue_lists import list_name
from services.jobs.__main__ import redis_client
from services.jobs.background.reconciler import Reconciler
from services.jobs.clients.queue_lists import RedisQueueLists
from services.jobs.rules.entities import ListKey
from services.jobs.rules.job_types import Priority
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.settings import RedisSettings
from tests.support.jobs_examples import MINUTE, new_job, new_job_type
from tests.support.jobs_work import sql_work

FOREIGN, IDLE = ListKey("default", Priority.MEDIUM), ListKey("idle", Priority.MEDIUM)
MAIL, SOUND = ListKey("mail", Priority.MEDIUM), ListKey("sound", Priority.MEDIUM)


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.Redis]:
    async with redis_client(RedisSettings(url=SecretStr(redis_url))) as client:
        yield client


async def test_a_foreign_key_under_one_lists_name_keeps_no_other_list_from_being_mended(
    client: redis.Redis, databases: list[Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.jobs.background.reconciler._GRACE", -MINUTE)
    prefix, work = f"{uuid4()}:", sql_work(SqlTransactions(databases[0]))
    lists = RedisQueueLists(client, prefix)
    for key in (FOREIGN, IDLE):
        await client.set(prefix + list_name(key.queue, key.priority), "another program's")
    await client.rpush(prefix + list_name(SOUND.queue, SOUND.priority), str(UUID(int=1)))
    async with work.transactions.begin():
        job_type = await work.job_types.create(new_job_type())
        lost = new_job(job_type.id, queue="mail")
        await work.jobs.create_many([lost, new_job(job_type.id)])
    reconciler = Reconciler(work.transactions, work.jobs, lists, window=100, apart=timedelta(0))
    for _ in range(2):
        await reconciler.round()
    assert sorted(await lists.names()) == [MAIL]
    assert await lists.read(MAIL) == [lost.id]
