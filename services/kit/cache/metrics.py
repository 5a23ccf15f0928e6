"""The statistics of caches as Prometheus metrics."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.kit.cache.statistics import CacheStatistics, Statistics

_PREFIX = "innosystem_cache_"


class CacheCollector(Collector):
    """A collector that reads the statistics when metrics are scraped, so that metrics add no cost to a hit.

    The process registers it: `registry.register(CacheCollector([job_types.statistics, customers.statistics]))`.

    Args:
        caches: The method `statistics` of each cache.
    """

    def __init__(self, caches: Iterable[Statistics]) -> None:
        self._caches = tuple(caches)

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, each labelled with the name of the cache."""
        snapshots = [statistics() for statistics in self._caches]
        yield _requests(snapshots)
        yield _loads(snapshots)
        failures = CounterMetricFamily(f"{_PREFIX}load_failures", "Loads that failed.", labels=["cache"])
        evictions = CounterMetricFamily("innosystem_cache_evictions", "Entries evicted to make room.", labels=["cache"])
        invalidations = CounterMetricFamily(
            "innosystem_cache_invalidations", "Keys dropped because of a change.", labels=["cache"]
        )
        entries = GaugeMetricFamily(f"{_PREFIX}entries", "Entries held.", labels=["cache"])
        entries_max = GaugeMetricFamily(f"{_PREFIX}entries_max", "Entries that may be held.", labels=["cache"])
        for one in snapshots:
            failures.add_metric([one.name], one.load_failures)
            evictions.add_metric([one.name], one.evictions)
            invalidations.add_metric([one.name], one.invalidations)
            entries.add_metric([one.name], one.size)
            entries_max.add_metric([one.name], one.size_max)
        yield from (failures, evictions, invalidations, entries, entries_max)


def _requests(snapshots: Iterable[CacheStatistics]) -> Metric:
    family = CounterMetricFamily(f"{_PREFIX}requests", "Keys requested, by result.", labels=["cache", "result"])
    for one in snapshots:
        family.add_metric([one.name, "hit"], one.hits)
        family.add_metric([one.name, "miss"], one.misses)
    return family


def _loads(snapshots: Iterable[CacheStatistics]) -> Metric:
    family = SummaryMetricFamily(
        "innosystem_cache_load_seconds", "How long loads took, failed ones as well.", labels=["cache"]
    )
    for one in snapshots:
        family.add_metric([one.name], one.loads, one.load_seconds)
    return family
