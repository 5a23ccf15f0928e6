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
    """A change was announced to a cache whose entries never change: its strategy is the wrong one."""


class Cache(Generic[K, V]):
    """Keeps values for a short time and loads what is missing, each key once at a time.

    Values are shared by all readers, so they have to be immutable. A load runs in a task of its own, on behalf of
    all who wait for it: it must not use the transaction of one of them, and sees the database as it is when it begins.
    Used on one event loop; nothing but the two reading methods ever waits.

    Args:
        name: Names the cache in messages between processes, in metrics and statistics.
        size: How many entries are kept.
        ttl_seconds: How long after its load began a value is served: how old it can be where nobody told of a change.
        strategy: How it gets along with the transactions that change what it holds.
        keep: Whether a value may be put. What a load answers for one key instead of failing as a whole, such as
            "could not be asked", is then handed to those who wait and no one else.
        lock_seconds: When a soft lock ends that nobody released: longer than a transaction can take.
        clock: The time in seconds, from any beginning.
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
        # The loads that may put what they find. A key that is dropped loses its load here, and that is all that it
        # takes to keep a value out that was read before the change.
        self._loads: dict[K, SharedLoad[K, V]] = {}
        self._locks: SoftLocks[K] = SoftLocks()
        self._publish: Publish | None = None

    async def get(self, key: K, load: Callable[[K], Awaitable[V | None]]) -> V | None:
        """Answers the value of a key, from the cache or from a load.

        Args:
            key: Which.
            load: Reads the value; answers None if there is none, which is not kept.

        Raises:
            Exception: What the load raised; it reaches all who waited for it, and is not kept.
        """
        if (entry := self._entries.get(key)) is not None:
            self._counters.hits += 1
            return entry.value

        async def load_many(_keys: Sequence[K]) -> Mapping[K, V]:
            value = await load(key)
            return {} if value is None else {key: value}

        return (await self._read([key], load_many)).get(key)

    async def get_many(self, keys: Iterable[K], load_many: LoadMany[K, V]) -> dict[K, V]:
        """Answers the values of keys; those that have none are left out.

        Args:
            keys: Which.
            load_many: Reads the values of all keys that nobody else is loading at the moment, in one call.

        Raises:
            Exception: What a load raised.
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
        """Announces that a transaction is about to change values, before it writes.

        Args:
            keys: Whose values, those of new entities as well; None for all, as after a change that touches any query.

        Returns:
            What has to be called when the transaction has ended, however it did: also after a rollback, and after a
            commit with an unknown outcome. It never fails and never waits; a second call does no harm.

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
        """Drops values, here and in the other processes: they have changed.

        Raises:
            ReadOnlyCache: If the strategy is READ_ONLY.
        """
        self._check_changeable()
        self._invalidate(keys)

    def clear(self) -> None:
        """Drops all values, here and in the other processes. A cache that is READ_ONLY is only emptied."""
        self._invalidate(None)

    def forget(self, keys: Collection[K] | None) -> None:
        """Drops values, or all for None, in this process only: another one has told of the change."""
        self._counters.invalidations += 1 if keys is None else len(keys)
        self._drop(keys)

    def publish_to(self, publish: Publish) -> None:
        """Sets who tells other processes; called by `Invalidations`.

        Args:
            publish: Gets the name of the cache and what was dropped, None for all. Must neither wait nor fail.

        Raises:
            ReadOnlyCache: If the strategy is READ_ONLY.
        """
        self._check_changeable()
        self._publish = publish

    def statistics(self) -> CacheStatistics:
        """What the cache is and did so far."""
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
        """Gets what the cache does not hold: from loads on their way, from a new one, and past the cache if locked."""
        self._counters.misses += len(missing)
        now = self._clock()
        locked = [key for key in missing if self._locks.covers(key, now)]
        loads = self._join([key for key in missing if key not in locked], load_many, now)
        found: dict[K, V] = {}
        try:
            if locked:
                # In the task of the reader: it may be the one that changes them and sees its own writes.
                found.update(await self._timed(locked, load_many))
            for load in loads:
                found.update(await load.result())
        finally:
            for load in loads:
                load.leave()
        return {key: found[key] for key in missing if key in found}

    def _join(self, keys: Sequence[K], load_many: LoadMany[K, V], now: float) -> list[SharedLoad[K, V]]:
        """Finds the loads of keys, and begins one for those that have none, or one too old to answer a reader now."""
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
        # Not in the coroutine: one that is cancelled before its first step never runs.
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
