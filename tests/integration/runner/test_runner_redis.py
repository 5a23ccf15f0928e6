"""A runner receives jobs again after any trouble of its Redis."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from redis.asyncio import Redis
from structlog.typing import EventDict

from innosystem.runner.queue import JobQueue
from tests.integration.runner.conftest import RunnerStack
from tests.integration.runner.test_runner_pipeline import changes, echo
from tests.support.until import until
from tools.local.embedded import EmbeddedRedis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A separate Redis, whose trouble does not affect other tests."""
    with EmbeddedRedis(tmp_path) as running:
        yield running


@pytest.fixture
async def own(server: EmbeddedRedis, world: RunnerStack) -> AsyncIterator[RunnerStack]:
    """A world with this Redis."""
    world.registry.add("echo", echo)
    world.redis_url = server.url
    async with Redis.from_url(server.url) as redis:
        world.redis = redis
        yield world


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    """The log lines."""
    with structlog.testing.capture_logs() as captured:
        yield captured


async def work(world: RunnerStack) -> None:
    job = await world.submit("echo", 1)
    await until(lambda: job.done)


async def test_a_redis_that_was_killed_and_comes_back_empty_is_heard_again(
    own: RunnerStack, server: EmbeddedRedis, lines: list[EventDict]
) -> None:
    async with own.running():
        await work(own)
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: "redis_unavailable" in changes(lines))
        await asyncio.to_thread(server.start)
        async with Redis.from_url(server.url) as redis:
            own.redis = redis
            await redis.flushall()
            await work(own)

    assert changes(lines) == ["redis_unavailable", "redis_available"]


async def test_an_emptied_redis_is_still_heard(own: RunnerStack, lines: list[EventDict]) -> None:
    async with own.running():
        await work(own)
        await own.redis.flushall()
        await work(own)

    assert changes(lines) == []


async def test_a_redis_that_was_paused_is_heard_again(
    own: RunnerStack, lines: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("innosystem.runner.queue._REPLY_SECONDS", 0.3)
    async with own.running():
        await work(own)
        # For all clients: the pause must end by itself.
        await own.redis.client_pause(4000)
        await until(lambda: "redis_unavailable" in changes(lines))
        await work(own)
        await until(lambda: "redis_available" in changes(lines))


async def test_a_redis_that_says_nothing_is_noticed_within_seconds(
    lines: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("innosystem.runner.queue._REPLY_SECONDS", 0.2)
    silent = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.close()

    black_hole = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = black_hole.sockets[0].getsockname()[1]
    queue = JobQueue(f"redis://127.0.0.1:{port}", ["jobs:p1:pending"])
    async with asyncio.timeout(10):
        assert await queue.pop(lambda: 1) == []
        assert await queue.pop(lambda: 1) == []
    assert changes(lines) == ["redis_unavailable"]
    await queue.close()
    silent.set()
    black_hole.close()


async def test_a_key_that_is_no_list_keeps_the_jobs_of_no_other_list(
    own: RunnerStack, lines: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("innosystem.runner.queue._SKIP_SECONDS", 0.2)
    await own.redis.set(own.key(0), "not a list")
    async with own.running():
        await work(own)
        await own.redis.delete(own.key(2))
        await own.redis.hset(own.key(2), "not", "a list")
        await work(own)
        await own.redis.delete(own.key(0))
        urgent = await own.submit("echo", 1, priority=0)
        await until(lambda: urgent.done)
        await work(own)

    named = [(line["event"], line["list"]) for line in lines if "list" in line]
    assert ("not_a_list", own.key(0)) in named
    assert ("not_a_list", own.key(2)) in named
    assert ("list_served_again", own.key(0)) in named
    assert len(named) == len(set(named))
    assert changes(lines) == []


async def test_a_runner_of_which_no_key_is_a_list_waits_and_ends_well(own: RunnerStack) -> None:
    for priority in range(3):
        await own.redis.set(own.key(priority), "not a list")
    with structlog.testing.capture_logs() as lines:
        async with own.running():
            await until(lambda: [line["event"] for line in lines].count("not_a_list") == 3)


async def test_rubbish_of_any_length_in_a_list_is_dropped(own: RunnerStack, lines: list[EventDict]) -> None:
    await own.redis.lpush(own.key(), b"\xff\xfe", "x" * 10_000_000, "", "5" * 36)
    async with own.running():
        await work(own)

    dropped = [line["value"] for line in lines if line["event"] == "not_a_job_id"]
    assert len(dropped) == 4
    assert max(map(len, dropped)) == 80
