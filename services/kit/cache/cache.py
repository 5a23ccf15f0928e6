"""A cache in the process: entities by their keys, or the results of queries by their parameters."""

import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Generic, TypeVar

from services.kit.cache.entries import Entries, Entry
from services.kit.cache.keys import Key
from services.kit.cache.locks import SoftLock, SoftLocks
from services.kit.cache.single_flight import SharedLoad
from services.kit.cache.statistics import CacheStatistics, Counters
from services.kit.cache.strategy import Strategy

K = TypeVar("K", bound=Key)
V = TypeVar("V")

LoadMany = Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]
Publish = Callable[[str, Collection[Key] | None], None]


class ReadOnlyCache(Exception):
    """A change was announced to a cache whose entries never change: it has the wrong strategy."""


class Cache(Generic[K, V]):
    """A cache that keeps values for a short time and loads missing ones, each key once at a time.

    Values are shared by all readers, so they must be immutable. A load runs in a task of its own, on behalf of all
    readers that wait for it: it must not use a reader's transaction, and sees the database as it is when it begins. A
    cache is used on one event loop; only its two reading methods wait.

    Args:
        name: The name of the cache in messages between processes, in metrics and statistics.
        size: The maximum number of entries.
        ttl_seconds: How long after its load began a value is served: its maximum age after a missed message.
        strategy: How the cache behaves towards transactions that change its entities.
        keep: Whether a value may be stored. A value that a load returns for one key in place of failing for all keys,
            such as "unavailable", is then returned to the waiting readers only.
        lock_seconds: When a soft lock ends without a release: longer than a transaction can take.
        clock: Returns a monotonic time in seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        size: int,
        ttl_seconds: float,
        strategy: Strategy,
        keep: Callable[[V], bool] = lambda _value: True,
        lock_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.strategy = strategy
        self._size_max = size
        self._ttl_seconds = ttl_seconds
        self._keep = keep
        self._lock_seconds = lock_seconds
        self._clock = clock
        self._counters = Counters()
        self._entries: Entries[K, V] = Entries(size, clock, self._counters)
        # The loads that may store their values. A dropped key loses its load here, which keeps values out that were
        # read before the change.
        self._loads: dict[K, SharedLoad[K, V]] = {}
        self._locks: SoftLocks[K] = SoftLocks()
        self._publish: Publish | None = None

    async def get(self, key: K, load: Callable[[K], Awaitable[V | None]]) -> V | None:
        """Return the value of a key, from the cache or from a load.

        Args:
            key: The key.
            load: Reads the value; returns None if it does not exist, which is not cached.

        Raises:
            Exception: The exception of the load; all waiting readers receive it, and it is not cached.
        """
        if (entry := self._entries.get(key)) is not None:
            self._counters.hits += 1
            return entry.value

        async def load_many(_keys: Sequence[K]) -> Mapping[K, V]:
            value = await load(key)
            return {} if value is None else {key: value}

        return (await self._read([key], load_many)).get(key)

    async def get_many(self, keys: Iterable[K], load_many: LoadMany[K, V]) -> dict[K, V]:
        """Return the values of keys; keys without a value are left out.

        Args:
            keys: The keys.
            load_many: Reads the values of all keys that are not being loaded yet, in one call.

        Raises:
            Exception: The exception of a load.
        """
        found: dict[K, V] = {}
        missing: list[K] = []
        for key in dict.fromkeys(keys):
            if (entry := self._entries.get(key)) is not None:
                found[key] = entry.value
            else:
                missing.append(key)
        self._counters.hits += len(found)
        return found | await self._read(missing, load_many) if missing else found

    def changing(self, keys: Collection[K] | None = None) -> Callable[[], None]:
        """Announce that a transaction is about to change values, before it writes.

        Args:
            keys: The keys of the values, including those of new entities; None for all, as for a change that affects
                any query.

        Returns:
            A function to call when the transaction has ended with any outcome: also after a rollback, and after a
            commit whose outcome is unknown. It never fails, never waits, and may be called twice.

        Raises:
            ReadOnlyCache: If the strategy is READ_ONLY.
        """
        self._check_changeable()
        changed = None if keys is None else frozenset(keys)
        if self.strategy is not Strategy.READ_WRITE:
            return lambda: self._invalidate(changed)
        lock = SoftLock(changed, self._clock() + self._lock_seconds)
        self._locks.add(lock)
        self._drop(changed)

        def ended() -> None:
            self._locks.release(lock)
            self._invalidate(changed)

        return ended

    def invalidate(self, keys: Collection[K]) -> None:
        """Drop changed values, here and in the other processes.

        Raises:
            ReadOnlyCache: If the strategy is READ_ONLY.
        """
        self._check_changeable()
        self._invalidate(keys)

    def clear(self) -> None:
        """Drop all values, here and in the other processes; those of a READ_ONLY cache only here."""
        self._invalidate(None)

    def forget(self, keys: Collection[K] | None) -> None:
        """Drop values, or all for None, in this process only: another process has published the change."""
        self._counters.invalidations += 1 if keys is None else len(keys)
        self._drop(keys)

    def publish_to(self, publish: Publish) -> None:
        """Set the function that publishes changes to other processes; called by `Invalidations`.

        Args:
            publish: Takes the name of the cache and the dropped keys, None for all. It must neither wait nor fail.

        Raises:
            ReadOnlyCache: If the strategy is READ_ONLY.
        """
        self._check_changeable()
        self._publish = publish

    def statistics(self) -> CacheStatistics:
        """Return a snapshot of the cache and its counters."""
        return CacheStatistics(
            name=self.name,
            strategy=self.strategy,
            size=len(self._entries),
            size_max=self._size_max,
            ttl_seconds=self._ttl_seconds,
            **asdict(self._counters),
        )

    def _check_changeable(self) -> None:
        if self.strategy is Strategy.READ_ONLY:
            raise ReadOnlyCache(f"the cache {self.name} is read-only")

    def _invalidate(self, keys: Collection[K] | None) -> None:
        self.forget(keys)
        if self._publish is not None:
            self._publish(self.name, keys)

    def _drop(self, keys: Collection[K] | None) -> None:
        if keys is None:
            self._entries.clear()
            self._loads.clear()
            return
        for key in keys:
            self._entries.pop(key, None)
            self._loads.pop(key, None)

    async def _read(self, missing: Sequence[K], load_many: LoadMany[K, V]) -> dict[K, V]:
        """Read missing values: from loads in progress, from a new load, and past the cache for locked keys."""
        self._counters.misses += len(missing)
        now = self._clock()
        locked = [key for key in missing if self._locks.covers(key, now)]
        loads = self._join([key for key in missing if key not in locked], load_many, now)
        found: dict[K, V] = {}
        try:
            if locked:
                # In the reader's task: the reader may be the transaction that changes them and sees its own writes.
                found.update(await self._timed(locked, load_many))
            for load in loads:
                found.update(await load.result())
        finally:
            for load in loads:
                load.leave()
        return {key: found[key] for key in missing if key in found}

    def _join(self, keys: Sequence[K], load_many: LoadMany[K, V], now: float) -> list[SharedLoad[K, V]]:
        """Join the loads of keys; start a load for keys without one, or with one that began too long ago."""
        joined: dict[SharedLoad[K, V], None] = {}
        alone: list[K] = []
        for key in keys:
            load = self._loads.get(key)
            if load is None or load.abandoned or now >= load.began + self._ttl_seconds:
                alone.append(key)
            else:
                joined[load] = None
        if alone:
            joined[self._begin(alone, load_many, now)] = None
        for load in joined:
            load.join()
        return list(joined)

    def _begin(self, keys: Sequence[K], load_many: LoadMany[K, V], now: float) -> SharedLoad[K, V]:
        load: SharedLoad[K, V] = SharedLoad(keys, now)
        self._loads.update(dict.fromkeys(keys, load))
        task = load.start(self._load(load, load_many))
        # Outside the coroutine: a coroutine that is cancelled before its first step never runs.
        task.add_done_callback(lambda _task: self._end(load))
        return load

    async def _load(self, load: SharedLoad[K, V], load_many: LoadMany[K, V]) -> Mapping[K, V]:
        found = await self._timed(load.keys, load_many)
        until = load.began + self._ttl_seconds
        for key, value in found.items():
            if self._loads.get(key) is load and self._keep(value):
                self._entries[key] = Entry(value, until)
        return found

    def _end(self, load: SharedLoad[K, V]) -> None:
        for key in load.keys:
            if self._loads.get(key) is load:
                del self._loads[key]

    async def _timed(self, keys: Sequence[K], load_many: LoadMany[K, V]) -> Mapping[K, V]:
        began = self._clock()
        failed = True
        try:
            found = await load_many(keys)
            failed = False
        finally:
            self._counters.count_load(self._clock() - began, failed=failed)
        return found
