"""The lists in a real Redis, with a key of another type under the name of one of them."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import redis.asyncio as redis
import structlog
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from services.jobs.__main__ import redis_client
from services.jobs.clients.queue_lists import RedisQueueLists
from services.jobs.rules.entities import ListKey, Waiting
from services.jobs.rules.job_types import Priority
from services.jobs.usecases.ports import QueueUnavailable
from services.kit.settings import RedisSettings
from tests.support.jobs_examples import NOW

DEFAULT, MAIL = ListKey("default", Priority.MEDIUM), ListKey("mail", Priority.HIGH)


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.Redis]:
    async with redis_client(RedisSettings(url=SecretStr(redis_url))) as client:
        yield client


@pytest.fixture
def prefix() -> str:
    """Keep the lists apart from those of other tests."""
    return f"{uuid4()}:"


def waiting(key: ListKey) -> Waiting:
    return Waiting(uuid7(), key.queue, key.priority, NOW)


@pytest.mark.parametrize("first", [False, True])
async def test_a_key_of_another_type_under_a_lists_name_keeps_no_other_list_from_being_used(
    client: redis.Redis, prefix: str, first: bool
) -> None:
    lists = RedisQueueLists(client, prefix)
    await client.set(f"{prefix}jobs:p1:pending", "another program's")
    jobs = [waiting(DEFAULT), waiting(MAIL), waiting(MAIL)]
    with structlog.testing.capture_logs() as lines:
        assert await lists.push(jobs, first=first) == {MAIL: 2}
        assert await lists.lengths([DEFAULT, MAIL]) == {MAIL: 2}
    assert [line["list"] for line in lines] == [f"{prefix}jobs:p1:pending"], "it is logged once"
    with pytest.raises(QueueUnavailable):
        await lists.read(DEFAULT)
    await client.delete(f"{prefix}jobs:p1:pending")
    assert await lists.push(jobs[:1]) == {DEFAULT: 1}


async def test_an_error_that_is_about_all_of_redis_is_no_lists_own(client: redis.Redis, prefix: str) -> None:
    lists = RedisQueueLists(client, prefix)
    await client.config_set("maxmemory", "1")
    try:
        with pytest.raises(QueueUnavailable, match="OutOfMemory"):
            await lists.push([waiting(DEFAULT), waiting(MAIL)])
    finally:
        await client.config_set("maxmemory", "0")


async def test_what_is_taken_back_is_what_was_pushed_last(client: redis.Redis, prefix: str) -> None:
    lists = RedisQueueLists(client, prefix)
    jobs = [waiting(DEFAULT) for _ in range(5)]
    await lists.push(jobs)
    assert await lists.take_back(DEFAULT, 2) == [jobs[4].id, jobs[3].id]
    assert await lists.read(DEFAULT) == [jobs[2].id, jobs[1].id, jobs[0].id]
    assert len(await lists.take_back(DEFAULT, 10)) == 3
    assert await lists.take_back(DEFAULT, 10) == []
