"""A bounded wait of a batch; beyond the bound, each of its callers waits by itself."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

# Ten times the latency of another service under load, and a short delay for the callers with other work in the batch.
_SECONDS: float = 0.25


class BriefWait:
    """A bound on how long batches wait for another service, which may hang.

    The first batch that reaches the bound stops waiting. While one of its callers still waits, no other batch waits.

    Args:
        seconds: How long a batch waits.
    """

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._callers = 0

    @property
    def is_over(self) -> bool:
        """Whether callers wait by themselves, so that batches do not wait."""
        return self._callers > 0

    @contextmanager
    def by_itself(self) -> Iterator[None]:
        """Count a caller that waits by itself."""
        self._callers += 1
        try:
            yield
        finally:
            self._callers -= 1

    async def result_of(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """Return the result of the work, or None if the work takes too long.

        Args:
            work: Cancelled after the bound, so it must be safe to repeat.

        Raises:
            Exception: Any exception of the work.
        """
        if self.is_over:
            return None
        limit = asyncio.timeout(self._seconds)
        try:
            async with limit:
                return await work()
        except TimeoutError:
            if limit.expired():
                return None
            raise
