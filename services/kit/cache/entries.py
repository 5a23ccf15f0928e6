"""Where a cache keeps its values."""

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
    """A value, and the moment from which it is not served any more."""

    value: V
    until: float


def _until(_key: Key, entry: Entry[V], _now: float) -> float:
    return entry.until


class Entries(TLRUCache[K, Entry[V], float]):
    """Entries with an end each; when there are too many, the one that was not used for longest makes room.

    Args:
        size_max: How many there may be.
        clock: The time, in seconds.
        counters: Where evictions are counted.
    """

    def __init__(self, size_max: int, clock: Callable[[], float], counters: Counters) -> None:
        super().__init__(size_max, _until, clock)
        self._counters = counters

    def popitem(self) -> tuple[K, Entry[V]]:
        """Takes the one out that makes room; what has ended is not taken out this way."""
        self._counters.evictions += 1
        return super().popitem()
