"""Processes publish their changes to each other through real Redis, and work while it is unavailable (D7)."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import redis.asyncio as redis
from pydantic import SecretStr

from services.kit.cache.cache import Cache
from services.kit.cache.invalidations import Invalidations
from services.kit.cache.strategy import Strategy
from services.kit.redis.pubsub import redis_client
from services.kit.settings import RedisSettings
from tests.support.tasks import cancelled
from tests.support.until import until
from tools.local.embedded import EmbeddedRedis

LIMIT_SECONDS = 15
ID = UUID(int=1)
Key = UUID | str


class Process:
    """What a process has: a cache, its clock, and the way to the others."""

    def __init__(self, client: redis.Redis, database: dict[Key, int], prefix: str, pending_max: int) -> None:
        self.now = 0.0
        self.database = database
        self.cache: Cache[Key, int] = Cache(
            "types", size=100, ttl_seconds=5, strategy=Strategy.READ_WRITE, clock=lambda: self.now
        )
        self.invalidations = Invalidations(client, prefix, poll_seconds=0.1, pending_max=pending_max)
        self.invalidations.join(self.cache)

    async def read(self, key: Key) -> int | None:
        """Reads through the cache."""

        async def load(wanted: Key) -> int | None:
            return self.database.get(wanted)

        return await self.cache.get(key, load)

    def write(self, key: Key, value: int) -> None:
        """Commits a change."""
        ended = self.cache.changing([key])
        self.database[key] = value
        ended()

    @property
    def size(self) -> int:
        """How many entries the cache holds."""
        return self.cache.statistics().size


class Processes:
    """Processes that share a database and talk through the Redis at an address."""

    def __init__(self, url: str, opened: AsyncExitStack) -> None:
        self.database: dict[Key, int] = {ID: 1, "name": 1}
        self.prefix = f"{uuid4()}:"
        self._url = url
        self._opened = opened

    async def start(self, url: str | None = None, *, pending_max: int = 1000, subscribed: bool = True) -> Process:
        """Starts one; it has subscribed when this returns, unless it can't."""
        settings = RedisSettings(url=SecretStr(url or self._url))
        client = await self._opened.enter_async_context(redis_client(settings))
        process = Process(client, self.database, self.prefix, pending_max)
        task = asyncio.create_task(process.invalidations.run())
        self._opened.push_async_callback(cancelled, task)
        if subscribed:
            await until(lambda: process.invalidations.subscribed)
        return process


@pytest.fixture
def processes(redis_url: str, opened: AsyncExitStack) -> Processes:
    """Processes at the Redis of this run."""
    return Processes(redis_url, opened)


async def test_a_change_reaches_the_other_processes(processes: Processes) -> None:
    one, other = await processes.start(), await processes.start()
    for process in (one, other):
        assert (await process.read(ID), await process.read("name")) == (1, 1)

    one.write(ID, 2)

    await until(lambda: other.size == 1)
    assert (await one.read(ID), await other.read(ID)) == (2, 2)
    one.cache.clear()
    await until(lambda: other.size == 0)


async def test_a_message_to_oneself_and_one_about_an_unknown_cache_drop_nothing(processes: Processes) -> None:
    one, other = await processes.start(), await processes.start()
    for key in (ID, "name"):
        await one.read(key)
        await other.read(key)
    one.invalidations.put("unknown", [ID])
    one.invalidations.put("types", [ID, "name"])
    await until(lambda: other.size == 0)
    assert one.size == 2

    # All get messages in the same order: when this one is there, its own was.
    other.write("name", 2)

    await until(lambda: one.size == 1)
    assert await one.read(ID) == 1


async def test_prefixes_keep_platforms_apart(processes: Processes) -> None:
    one = await processes.start()
    prefix, processes.prefix = processes.prefix, "another:"
    stranger = await processes.start()
    processes.prefix = prefix
    other = await processes.start()
    await stranger.read(ID)
    await other.read(ID)

    one.write(ID, 2)

    await until(lambda: other.size == 0)
    assert stranger.size == 1


async def test_a_message_that_is_not_understood_empties_everything(processes: Processes) -> None:
    one = await processes.start()
    await one.read(ID)

    await one.invalidations._client.publish(one.invalidations._channel, b"\xff")

    await until(lambda: one.size == 0)


async def test_a_lost_message_is_made_up_for_by_the_time_limit(processes: Processes) -> None:
    other = await processes.start()
    assert await other.read(ID) == 1
    processes.database[ID] = 2  # And nobody tells.

    other.now += 4.9
    assert await other.read(ID) == 1
    other.now += 0.1

    assert await other.read(ID) == 2


async def test_a_killed_redis_delays_no_caller_and_all_entries_are_dropped_when_it_is_back(
    opened: AsyncExitStack, tmp_path: Path
) -> None:
    server = EmbeddedRedis(tmp_path)
    server.start()
    opened.callback(server.stop)
    processes = Processes(server.url, opened)
    one, other = await processes.start(), await processes.start()
    assert await other.read(ID) == 1
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not (one.invalidations.subscribed or other.invalidations.subscribed or server.running))

    one.write(ID, 2)
    assert await one.read(ID) == 2
    assert await other.read(ID) == 1
    server.start()

    await until(lambda: one.invalidations.subscribed and other.invalidations.subscribed)
    assert (await one.read(ID), await other.read(ID)) == (2, 2)
    one.write(ID, 3)
    await until(lambda: other.size == 0)


@pytest.mark.parametrize("keys", [2, 30])
async def test_what_happened_before_redis_was_there_is_sent_then_and_too_much_of_it_as_one(
    processes: Processes, tmp_path: Path, opened: AsyncExitStack, keys: int
) -> None:
    server = EmbeddedRedis(tmp_path)
    processes = Processes(server.url, opened)
    early = await processes.start(pending_max=10, subscribed=False)
    for number in range(keys):
        early.write(str(number), 1)
    pending = early.invalidations._pending["types"]
    assert pending is None if keys > 10 else pending == {'"0"', '"1"'}

    server.start()
    opened.callback(server.stop)

    await until(lambda: early.invalidations.subscribed and not early.invalidations._pending)


async def test_a_connection_that_has_gone_silent_is_given_up(opened: AsyncExitStack, tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    server.start()
    opened.callback(server.stop)
    path = redis.Redis.from_url(server.url).connection_pool.connection_kwargs["path"]
    async with silenceable(path, tmp_path / "proxy") as silent:
        processes = Processes(server.url, opened)
        one = await processes.start()
        other = await processes.start(f"unix://{tmp_path / 'proxy'}")
        assert await other.read(ID) == 1
        silent.set()
        one.write(ID, 2)
        await until(lambda: not other.invalidations.subscribed)
        assert await other.read(ID) == 1
        silent.clear()

        await until(lambda: other.invalidations.subscribed)
        assert await other.read(ID) == 2


@asynccontextmanager
async def silenceable(server: str, path: Path) -> AsyncIterator[asyncio.Event]:
    """A way to a server on which everything is swallowed while the event is set, as by a broken network."""
    silent = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if not silent.is_set():
                    writer.write(data)
                    await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(server)
        tasks.update((asyncio.create_task(pump(reader, back)), asyncio.create_task(pump(there, writer))))

    listening = await asyncio.start_unix_server(connected, path)
    try:
        yield silent
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_two_caches_of_one_name_are_refused(processes: Processes) -> None:
    one = await processes.start()
    with pytest.raises(ValueError, match="types"):
        one.invalidations.join(one.cache)
