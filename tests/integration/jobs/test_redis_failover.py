"""Redis behind an address that moves: the server that it led to is demoted, and closes no connection."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
import redis.asyncio as redis
from pydantic import SecretStr

from innosystem.runner.queue import JobQueue, PoppedId, list_keys
from services.jobs.__main__ import redis_client
from services.jobs.clients.queue_lists import RedisQueueLists
from services.jobs.rules.entities import ListKey, Waiting
from services.jobs.rules.job_types import Priority
from services.jobs.usecases.ports import QueueUnavailable
from services.kit.redis.pubsub import Subscription
from services.kit.redis.pubsub import redis_client as pubsub_client
from services.kit.settings import RedisSettings
from tools.local.embedded import EmbeddedRedis

LIST = ListKey("default", Priority.MEDIUM)


class Address:
    """An address that leads to one of two servers: a link to its socket."""

    def __init__(self, folder: Path, old: EmbeddedRedis, new: EmbeddedRedis) -> None:
        self._link = folder / "address"
        self.old, self.new = old, new
        self.move_to(old)

    @property
    def url(self) -> str:
        return f"unix://{self._link}"

    def move_to(self, server: EmbeddedRedis) -> None:
        incoming = self._link.with_name("incoming")
        incoming.symlink_to(redis.Redis.from_url(server.url).connection_pool.connection_kwargs["path"])
        incoming.replace(self._link)

    async def demote(self, server: EmbeddedRedis) -> None:
        """Make it the replica of a server that does not exist."""
        async with redis.Redis.from_url(server.url) as client:
            await client.replicaof("127.0.0.1", "1")


@pytest.fixture
def address() -> Iterator[Address]:
    with TemporaryDirectory(prefix="innosystem-") as name:
        folder = Path(name)
        with EmbeddedRedis(folder / "old") as old, EmbeddedRedis(folder / "new") as new:
            yield Address(folder, old, new)


@pytest.fixture
async def client(address: Address) -> AsyncIterator[redis.Redis]:
    settings = RedisSettings(url=SecretStr(address.url), connection_lifetime_seconds=3600, command_timeout_seconds=10)
    async with redis_client(settings) as made:
        yield made


def waiting() -> Waiting:
    return Waiting(uuid4(), LIST.queue, LIST.priority, datetime.now(UTC))


async def test_ids_go_to_where_the_address_leads_after_a_failover(address: Address, client: redis.Redis) -> None:
    lists = RedisQueueLists(client)
    await lists.push([waiting()])
    address.move_to(address.new)
    await address.demote(address.old)
    job = waiting()
    assert await lists.push([job]) == {LIST: 1}
    assert await lists.read(LIST) == [job.id]


async def test_a_server_that_was_demoted_is_no_queue_and_health_says_why(address: Address, client: redis.Redis) -> None:
    lists = RedisQueueLists(client)
    await lists.check()
    await address.demote(address.old)
    with pytest.raises(QueueUnavailable, match=r"replica of 127\.0\.0\.1:1"):
        await lists.check()
    with pytest.raises(QueueUnavailable, match="read only replica"):
        await lists.push([waiting()])
    address.move_to(address.new)
    await lists.check()


async def test_a_connection_is_replaced_when_its_time_is_over(address: Address) -> None:
    settings = RedisSettings(url=SecretStr(address.url), connection_lifetime_seconds=1e-9)
    async with redis_client(settings) as client:
        await client.set("server", "old")
        # Nothing refuses anything: the old one is still a server, only not the one of this address.
        address.move_to(address.new)
        assert await client.get("server") is None


async def test_a_runner_that_waits_hears_of_what_comes_to_the_new_server(address: Address) -> None:
    queue = JobQueue(address.url, keys := list_keys(["default"]))
    other = PoppedId(str(uuid4()), keys[2])
    await queue.push_back([other])
    assert await queue.pop(lambda: 1) == [other]
    popping = asyncio.create_task(queue.pop(lambda: 1))
    async with redis.Redis.from_url(address.old.url) as old:
        async with asyncio.timeout(10):
            while not (await old.info("clients"))["blocked_clients"]:
                pass
    address.move_to(address.new)
    # Ends the pop that waits with an error.
    await address.demote(address.old)
    assert await popping == []
    job = waiting()
    async with redis.Redis.from_url(address.new.url) as new:
        await RedisQueueLists(new).push([job])
    async with asyncio.timeout(10):
        while not (popped := await queue.pop(lambda: 1)):
            pass
    assert [one.job_id for one in popped] == [str(job.id)]
    # Also by a connection that was idle when the server was demoted, and so was not ended by it.
    await queue.push_back([other])
    assert await queue.pop(lambda: 1) == [other]
    await queue.close()


async def test_a_subscription_hears_what_is_said_where_the_address_leads_now(address: Address) -> None:
    settings = RedisSettings(url=SecretStr(address.url), connection_lifetime_seconds=0.2)
    begun, heard = asyncio.Event(), asyncio.Event()
    async with pubsub_client(settings) as client, redis.Redis.from_url(address.new.url) as new:
        subscription = Subscription(client, "news", receive=lambda _: heard.set(), begin=begun.set, poll_seconds=0.05)
        listening = asyncio.create_task(subscription.run())
        async with asyncio.timeout(20):
            await begun.wait()
            address.move_to(address.new)
            while not heard.is_set():
                await new.publish("news", "moved")
        listening.cancel()
        await asyncio.wait([listening])
