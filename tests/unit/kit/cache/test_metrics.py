"""The statistics of caches as Prometheus reads them (D7)."""

from prometheus_client import CollectorRegistry, generate_latest

from services.kit.cache.metrics import CacheCollector
from tests.unit.kit.cache.world import Clock, Source, cache_of


async def test_each_statistic_is_a_metric_with_the_name_of_the_cache() -> None:
    clock, source, registry = Clock(), Source(a=1, b=2, c=3, d=4), CollectorRegistry()
    cache = cache_of(clock)
    registry.register(CacheCollector([cache.statistics]))

    async def slow(key: str) -> int | None:
        clock.now += 0.5
        return await source.load(key)

    for key in "aabcd":
        await cache.get(key, slow)
    cache.invalidate(["d"])

    lines = generate_latest(registry).decode().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        'innosystem_cache_requests_total{cache="numbers",result="hit"} 1.0',
        'innosystem_cache_requests_total{cache="numbers",result="miss"} 4.0',
        'innosystem_cache_load_seconds_count{cache="numbers"} 4.0',
        'innosystem_cache_load_seconds_sum{cache="numbers"} 2.0',
        'innosystem_cache_load_failures_total{cache="numbers"} 0.0',
        'innosystem_cache_evictions_total{cache="numbers"} 1.0',
        'innosystem_cache_invalidations_total{cache="numbers"} 1.0',
        'innosystem_cache_entries{cache="numbers"} 2.0',
        'innosystem_cache_entries_max{cache="numbers"} 3.0',
    ]
