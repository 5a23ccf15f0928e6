"""The statistics of a cache, for `innosystem cache stats` and for metrics."""

from collections.abc import Callable
from dataclasses import dataclass

from services.kit.cache.strategy import Strategy


@dataclass(slots=True)
class Counters:
    """The counters of a cache since the process began.

    Attributes:
        hits: Keys that were served from the cache.
        misses: Keys that waited for a load, a new one or one in progress.
        loads: Loads that ended, including failed ones; one load may serve many keys.
        load_failures: Loads that raised.
        evictions: Entries that were evicted to make room: many mean that the cache is too small.
        invalidations: Keys that were dropped because of a change, here or in another process; clearing the whole cache
            counts as one.
        load_seconds: The total duration of all loads.
    """

    hits: int = 0
    misses: int = 0
    loads: int = 0
    load_failures: int = 0
    evictions: int = 0
    invalidations: int = 0
    load_seconds: float = 0.0

    def count_load(self, seconds: float, *, failed: bool) -> None:
        """Count a load that ended."""
        self.loads += 1
        self.load_failures += failed
        self.load_seconds += seconds


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """A snapshot of a cache; `Counters` documents the counters.

    Attributes:
        name: The name of the cache.
        strategy: How it behaves towards transactions.
        size: The number of entries.
        size_max: The maximum number of entries.
        ttl_seconds: How long a value is served at most.
    """

    name: str
    strategy: Strategy
    size: int
    size_max: int
    ttl_seconds: float
    hits: int
    misses: int
    loads: int
    load_failures: int
    evictions: int
    invalidations: int
    load_seconds: float

    @property
    def hit_ratio(self) -> float:
        """The fraction of the requested keys that was served from the cache, from 0 to 1; 0 without requests."""
        requested = self.hits + self.misses
        return self.hits / requested if requested else 0.0

    @property
    def load_seconds_mean(self) -> float:
        """The mean duration of a load; 0 without loads."""
        return self.load_seconds / self.loads if self.loads else 0.0


Statistics = Callable[[], CacheStatistics]
"""The bound method `cache.statistics`."""
