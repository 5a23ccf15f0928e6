"""Soft locks: they keep values out of a cache while a transaction changes them, and never make anybody wait."""

from typing import Generic, TypeVar

from services.kit.cache.keys import Key

K = TypeVar("K", bound=Key)


class SoftLock(Generic[K]):
    """What one transaction has announced. Two locks on the same keys are two objects: each ends by itself.

    Args:
        keys: What it locks; None for everything.
        until: When it ends if nobody has released it.
    """

    __slots__ = ("_keys", "until")

    def __init__(self, keys: frozenset[K] | None, until: float) -> None:
        self._keys = keys
        self.until = until

    def covers(self, key: K) -> bool:
        """Whether the key is locked by it."""
        return self._keys is None or key in self._keys


class SoftLocks(Generic[K]):
    """The locks of a cache. There are as many as transactions that write at this moment: few."""

    def __init__(self) -> None:
        self._locks: set[SoftLock[K]] = set()

    def add(self, lock: SoftLock[K]) -> None:
        """Begins a lock."""
        self._locks.add(lock)

    def release(self, lock: SoftLock[K]) -> None:
        """Ends a lock; does nothing if its time was up."""
        self._locks.discard(lock)

    def covers(self, key: K, now: float) -> bool:
        """Whether the key is locked by any; forgets those whose time is up."""
        if not self._locks:
            return False
        self._locks = {lock for lock in self._locks if now < lock.until}
        return any(lock.covers(key) for lock in self._locks)
