"""Soft locks: they keep values out of a cache while a transaction changes them; no reader ever waits for one."""

from typing import Generic, TypeVar

from services.kit.cache.keys import Key

K = TypeVar("K", bound=Key)


class SoftLock(Generic[K]):
    """The announced change of one transaction. Two locks on the same keys are two objects and end independently.

    Args:
        keys: The locked keys; None for all.
        until: When the lock ends without a release.
    """

    __slots__ = ("_keys", "until")

    def __init__(self, keys: frozenset[K] | None, until: float) -> None:
        self._keys = keys
        self.until = until

    def covers(self, key: K) -> bool:
        """Whether the lock covers the key."""
        return self._keys is None or key in self._keys


class SoftLocks(Generic[K]):
    """The locks of a cache, one for each transaction that is writing: few."""

    def __init__(self) -> None:
        self._locks: set[SoftLock[K]] = set()

    def add(self, lock: SoftLock[K]) -> None:
        """Add a lock."""
        self._locks.add(lock)

    def release(self, lock: SoftLock[K]) -> None:
        """Remove a lock; an expired one may be gone already."""
        self._locks.discard(lock)

    def covers(self, key: K, now: float) -> bool:
        """Whether any lock covers the key; removes expired locks."""
        if not self._locks:
            return False
        self._locks = {lock for lock in self._locks if now < lock.until}
        return any(lock.covers(key) for lock in self._locks)
