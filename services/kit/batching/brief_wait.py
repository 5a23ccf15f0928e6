"""What a batch waits for, as long as it does not take long: else its callers wait for it, each by itself."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

# Ten times of what another service takes when it is busy, and little to whoever is in the batch for something else.
_SECONDS: float = 0.25


class BriefWait:
    """Bounds how long batches wait for another service, which may hang.

    The first batch to which that happens has waited in vain. As long as one of its callers goes on waiting, no other
    batch waits at all.

    Args:
        seconds: How long a batch waits.
    """

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._callers = 0

    @property
    def is_over(self) -> bool:
        """Whether callers wait by themselves at the moment, so that batches do not."""
        return self._callers > 0

    @contextmanager
    def by_itself(self) -> Iterator[None]:
        """Count a caller as one that waits by itself."""
        self._callers += 1
        try:
            yield
        finally:
            self._callers -= 1

    async def result_of(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """Return what the work results in, or None if that takes too long.

        Args:
            work: It is cancelled then, so it must be safe to do it again.

        Raises:
            Exception: What the work raised.
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
