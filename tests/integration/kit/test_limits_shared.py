"""Processes share the limits of callers through real Redis, and limit by themselves without it."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from services.kit.errors import RateLimited
from services.kit.limits.buckets import Buckets, Charge
from services.kit.limits.sharing import Sharing, redis_client
from services.kit.rates import Rate
from services.kit.settings import RedisSettings
from tests.support.tasks import cancelled
from tests.support.until import until
from tools.local.embedded import EmbeddedRedis

LIMIT_SECONDS = 15
PROCESSES = 2


def charge(rate: str, cost: float = 1, subject: str = "client/ada") -> Charge:
    return Charge("client_requests", subject, Rate.parse(rate), cost)


def is_taken(buckets: Buckets, one: Charge) -> bool:
    try:
        buckets.take([one])
    except RateLimited:
        return False
    return True


def wait_seconds(buckets: Buckets, one: Charge) -> float:
    with pytest.raises(RateLimited) as caught:
        buckets.take([one])
    return caught.value.retry_seconds


@asynccontextmanager
async def sharing(url: str, prefix: str, count: int = PROCESSES) -> AsyncIterator[list[Buckets]]:
    """The buckets of processes that share them."""
    settings = RedisSettings(url=SecretStr(url), key_prefix=prefix, command_timeout_seconds=0.5)
    async with AsyncExitStack() as opened:
        processes = []
        for _ in range(count):
            client = await opened.enter_async_context(redis_client(settings))
            buckets = Buckets(shared=True)
            task = asyncio.create_task(Sharing(buckets, client, prefix, "jobs").run())
            opened.push_async_callback(cancelled, task)
            processes.append(buckets)
        yield processes


@pytest.fixture
def prefix() -> str:
    return f"{uuid4()}:"


async def reported(*processes: Buckets) -> None:
    """Wait until everything is reported."""
    for one in processes:
        await until(partial(getattr, one, "all_reported"), LIMIT_SECONDS)


async def test_what_one_process_has_accepted_is_missing_in_the_others(redis_url: str, prefix: str) -> None:
    async with sharing(redis_url, prefix) as (first, second):
        first.take([charge("0.001/100", 60)])
        await reported(first)
        # A process hears of the others when it reports something itself.
        second.take([charge("0.001/100", 1)])
        await reported(second)
        assert not is_taken(second, charge("0.001/100", 40))
        assert is_taken(second, charge("0.001/100", 39))
        await reported(second)
        first.take([charge("0.001/100", 1)])
        await reported(first)
        assert not is_taken(first, charge("0.001/100", 1))


async def test_processes_together_accept_a_burst_and_an_eighth_and_in_the_long_run_the_rate(
    redis_url: str, prefix: str
) -> None:
    rate, burst, seconds = 500, 400, 3.0
    one = charge(f"{rate}/{burst}")
    accepted = offered = 0
    async with sharing(redis_url, prefix) as processes:
        begun = time.monotonic()
        while (passed := time.monotonic() - begun) < seconds:
            for buckets in processes:
                accepted += sum(is_taken(buckets, one) for _ in range(20))
                offered += 20
            await asyncio.sleep(0.002)
        assert accepted >= burst + rate * passed * 0.9, (offered, passed)
        # Each process holds an eighth of the burst back, and what arrives in a round trip: 20 ms here.
        assert accepted <= burst + rate * passed + burst / 8 * (PROCESSES - 1) + 100, passed


async def test_the_excess_of_a_burst_at_several_processes_is_waited_for(redis_url: str, prefix: str) -> None:
    async with sharing(redis_url, prefix, 4) as processes:
        for buckets in processes:
            buckets.take([charge("1/10", 10)])
        await reported(*processes)
        # That which has reported last knows of all others.
        waits = [wait_seconds(buckets, charge("1/10")) for buckets in processes]
        assert max(waits) == pytest.approx(31, abs=1)


async def test_an_empty_bucket_leaves_nothing_in_redis(redis_url: str, prefix: str) -> None:
    settings = RedisSettings(url=SecretStr(redis_url))
    async with sharing(redis_url, prefix) as (first, _), redis_client(settings) as client:
        first.take([charge("1000/1000", 5)])
        await reported(first)
        [key] = [key async for key in client.scan_iter(match=f"{prefix}*")]
        assert key.decode() == f"{prefix}limits:jobs:client_requests:client/ada"
        assert 0 < await client.pttl(key) <= 1005


async def test_without_redis_each_process_limits_by_itself_and_refuses_nothing_because_of_it(
    tmp_path: Path, prefix: str
) -> None:
    server = EmbeddedRedis(tmp_path)
    server.start()
    try:
        async with sharing(server.url, prefix) as (first, second):
            first.take([charge("0.001/100", 1)])
            await reported(first)
            server.stop()
            slowest = 0.0
            for buckets in (first, second):
                for _ in range(99):
                    before = time.perf_counter()
                    buckets.take([charge("0.001/100")])
                    slowest = max(slowest, time.perf_counter() - before)
                    await asyncio.sleep(0)
            assert not is_taken(first, charge("0.001/100", 2))
            assert slowest < 0.1
            server.start()
            await reported(first, second)
            assert not is_taken(second, charge("0.001/100"))
    finally:
        server.stop()


async def test_a_redis_that_hangs_delays_no_decision(tmp_path: Path, prefix: str) -> None:
    server = EmbeddedRedis(tmp_path)
    server.start()
    try:
        async with sharing(server.url, prefix, 1) as [only]:
            only.take([charge("10/100")])
            await reported(only)
            assert server.pid
            os.kill(server.pid, signal.SIGSTOP)
            begun = time.perf_counter()
            accepted = 0
            for _ in range(200):
                accepted += is_taken(only, charge("10/100"))
                await asyncio.sleep(0.001)
            assert accepted >= 99
            assert time.perf_counter() - begun < 5
    finally:
        if server.pid:
            os.kill(server.pid, signal.SIGCONT)
        server.stop()


async def test_use_of_a_long_outage_is_forgiven_as_far_as_it_has_drained(tmp_path: Path, prefix: str) -> None:
    server = EmbeddedRedis(tmp_path)
    try:
        async with sharing(server.url, prefix, 1) as [only]:
            accepted = 0
            begun = time.monotonic()
            while time.monotonic() - begun < 1.5:
                accepted += is_taken(only, charge("100/50"))
                await asyncio.sleep(0.002)
            assert accepted > 150
            server.start()
            await reported(only)
            # With all that it accepted meanwhile, the bucket would be above its burst for two seconds.
            await until(lambda: is_taken(only, charge("100/50")), 0.5)
    finally:
        server.stop()
