"""`innosystem cache stats` against a process that serves metrics (D7)."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog
from prometheus_client import REGISTRY

from innosystem.shared.metrics_endpoint import metrics_endpoint
from services.kit.cache.cache import Cache
from services.kit.cache.metrics import CacheCollector
from services.kit.cache.strategy import Strategy


@pytest.fixture
def cache() -> Iterator[Cache[str, int]]:
    """A cache whose statistics this process shows."""
    cache: Cache[str, int] = Cache("tests.numbers", size=10, ttl_seconds=60, strategy=Strategy.NONSTRICT_READ_WRITE)
    collector = CacheCollector([cache.statistics])
    REGISTRY.register(collector)
    yield cache
    REGISTRY.unregister(collector)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.cli", "cache", "stats", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={name: value for name, value in os.environ.items() if name != "JOBS_METRICS_ADDRESS"},
    )


async def test_the_statistics_of_caches_are_shown(cache: Cache[str, int]) -> None:
    async def load(key: str) -> int:
        return len(key)

    for key in ("a", "b", "a", "a"):
        assert await cache.get(key, load) == 1
    cache.invalidate(["b"])

    with structlog.testing.capture_logs() as lines:
        async with metrics_endpoint("127.0.0.1:0"):
            [line] = [line for line in lines if line["event"] == "metrics"]
            done = run("--metrics", line["address"], "--json")
            table = run("--metrics", line["address"])
    assert done.returncode == 0, done.stderr
    [shown] = [one for one in json.loads(done.stdout) if one["cache"] == "tests.numbers"]
    assert shown.pop("mean_load_ms") >= 0
    assert shown == {
        "cache": "tests.numbers",
        "hits": 2,
        "misses": 2,
        "hit_ratio": 0.5,
        "loads": 2,
        "load_failures": 0,
        "entries": 1,
        "entries_max": 10,
        "evictions": 0,
        "invalidations": 1,
    }
    assert "tests.numbers" in table.stdout


async def test_what_is_not_known_yet_is_a_dash(cache: Cache[str, int]) -> None:
    with structlog.testing.capture_logs() as lines:
        async with metrics_endpoint("127.0.0.1:0"):
            [line] = [line for line in lines if line["event"] == "metrics"]
            table = run("--metrics", line["address"])
    [row] = [line.split() for line in table.stdout.splitlines() if line.startswith("tests.numbers")]
    assert row == ["tests.numbers", "0", "0", "-", "0", "0", "-", "0", "0", "0"]


def test_a_process_without_metrics_is_one_clear_line() -> None:
    done = run("--metrics", "127.0.0.1:1")
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert "JOBS_METRICS_LISTEN_ADDRESS" in line
