"""A clock that is moved by hand, and a source of values whose loads end when a test says so."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from services.kit.cache.cache import Cache
from services.kit.cache.strategy import Strategy

NONSTRICT = Strategy.NONSTRICT_READ_WRITE


class Clock:
    """Seconds from any beginning."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


class Source:
    """What is cached. While `gate` is closed a load has read its values and does not return yet."""

    def __init__(self, **values: int) -> None:
        self.values = values
        self.loads: list[tuple[str, ...]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self.cancelled = 0

    async def load_many(self, keys: Sequence[str]) -> Mapping[str, int]:
        """Read now, and return when the gate is open."""
        self.loads.append(tuple(keys))
        read = {key: self.values[key] for key in keys if key in self.values}
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failure is not None:
            raise self.failure
        return read

    async def load(self, key: str) -> int | None:
        """Read one."""
        return (await self.load_many([key])).get(key)


def cache_of(clock: Clock, strategy: Strategy = NONSTRICT, **settings: Any) -> Cache[str, int]:
    """A cache of three entries for ten seconds."""
    return Cache("numbers", **{"size": 3, "ttl_seconds": 10, "strategy": strategy, "clock": clock, **settings})


async def settle() -> None:
    """Lets everything run that can run without the test."""
    for _ in range(10):
        await asyncio.sleep(0)
