"""The entries of a cache."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import TLRUCache

from services.kit.cache.keys import Key
from services.kit.cache.statistics import Counters

K = TypeVar("K", bound=Key)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Entry(Generic[V]):
    """A value, and the time from which it is no longer served."""

    value: V
    until: float


def _until(_key: Key, entry: Entry[V], _now: float) -> float:
    return entry.until


class Entries(TLRUCache[K, Entry[V], float]):
    """Entries, each with a time limit; beyond the maximum size, the least recently used entry is evicted.

    Args:
        size_max: The maximum number of entries.
        clock: Returns the time in seconds.
        counters: Counts evictions.
    """

    def __init__(self, size_max: int, clock: Callable[[], float], counters: Counters) -> None:
        super().__init__(size_max, _until, clock)
        self._counters = counters

    def popitem(self) -> tuple[K, Entry[V]]:
        """Evict an entry to make room; expired entries are removed elsewhere."""
        self._counters.evictions += 1
        return super().popitem()
