"""What a cache did, as numbers: for `innosystem cache stats` and for metrics."""

from collections.abc import Callable
from dataclasses import dataclass

from services.kit.cache.strategy import Strategy


@dataclass(slots=True)
class Counters:
    """What a cache counts since the process began; all but the last are numbers of times.

    Attributes:
        hits: Keys that were answered from the cache.
        misses: Keys that had to wait for a load, their own or one that was on its way.
        loads: Loads that ended, failed ones as well; one load may be for many keys.
        load_failures: Loads that raised.
        evictions: Entries that made room for others: many of them mean that the cache is too small.
        invalidations: Keys that were told to be dropped, here or by another process; the whole cache counts as one.
        load_seconds: How long all loads took together.
    """

    hits: int = 0
    misses: int = 0
    loads: int = 0
    load_failures: int = 0
    evictions: int = 0
    invalidations: int = 0
    load_seconds: float = 0.0

    def count_load(self, seconds: float, *, failed: bool) -> None:
        """Counts a load that ended."""
        self.loads += 1
        self.load_failures += failed
        self.load_seconds += seconds


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """What a cache is and did, at one moment. `Counters` tells what the counted ones mean.

    Attributes:
        name: The name of the cache.
        strategy: How it gets along with transactions.
        size: How many entries it holds.
        size_max: How many it may hold.
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
        """The part of the keys that was answered from the cache, from 0 to 1; 0 if nobody asked."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0

    @property
    def load_seconds_mean(self) -> float:
        """How long a load takes on average; 0 if there was none."""
        return self.load_seconds / self.loads if self.loads else 0.0


Statistics = Callable[[], CacheStatistics]
"""How a cache is asked for its statistics: the bound method `cache.statistics`."""
