"""Work in batches in which a bad item does not stop the others: it is found and set aside for a while."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Any, TypeVar
from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge

from services.kit.batching.bisection import bisected
from services.kit.data.errors import TooCostly
from services.kit.errors import (
    ConcurrentUpdate,
    DatabaseUnavailable,
    DataCorrupt,
    DependencyUnavailable,
    DomainError,
    Overloaded,
)

E = TypeVar("E")
T = TypeVar("T")

log = structlog.get_logger(__name__)

_SET_ASIDE = Counter("innosystem_set_aside", "Items that were set aside because their batch failed for them.", ["of"])
_ASIDE = Gauge("innosystem_aside", "Items that are set aside at the moment.", ["of"])

_WAIT = timedelta(seconds=10)
_WAIT_MAX = timedelta(minutes=10)
_KEPT_MAX = 1000
# So that work that fails for all items is not repeated for each of them.
_FAILURES_MAX = 30
_CULPRITS_MAX = 10


def is_nobodys_fault(error: Exception) -> bool:
    """Whether an error is independent of the items of a batch: waiting helps, and dividing the batch does not."""
    if isinstance(error, TooCostly):
        return False
    return isinstance(error, DatabaseUnavailable | ConcurrentUpdate | DependencyUnavailable | Overloaded)


async def divided(items: Sequence[T], work: Callable[[Sequence[T]], Awaitable[object]]) -> list[tuple[T, Exception]]:
    """Run work for a batch, and after a failure for its halves, until the culprits are alone.

    Args:
        items: The batch.
        work: Serves some of the items; must be safe to repeat.

    Returns:
        The culprits, each with the error of the work.

    Raises:
        Exception: The error of the work, if it is the fault of no item, or of too many.
    """
    culprits: list[tuple[T, Exception]] = []

    async def done(some: Sequence[T]) -> Sequence[object]:
        await work(some)
        return ()

    def failed(some: Sequence[T], error: Exception) -> Sequence[object] | None:
        if is_nobodys_fault(error):
            raise error
        if len(some) > 1:
            return None
        culprits.append((some[0], error))
        if len(culprits) > _CULPRITS_MAX:
            raise error
        return ()

    await bisected(items, done, failed)
    return culprits


class Aside:
    """Items that are left out of batches for a while; the wait doubles with each further failure of an item.

    Kept in memory: a restarted process finds the culprits again. Beyond a limit, the oldest items are forgotten.

    Args:
        of: The name of the batches, for logs and metrics.
    """

    def __init__(self, of: str) -> None:
        self._of = of
        self._tries: dict[UUID, int] = {}
        self._until: dict[UUID, float] = {}

    def put(self, item: UUID, error: Exception) -> None:
        """Set an item aside, and log it."""
        tries = self._tries.pop(item, 0)
        wait = min(_WAIT * 2 ** min(tries, 10), _WAIT_MAX)
        self._tries[item] = tries + 1
        self._until[item] = monotonic() + wait.total_seconds()
        if len(self._tries) > _KEPT_MAX:
            self._forget(next(iter(self._tries)))
        _SET_ASIDE.labels(self._of).inc()
        defect = None if isinstance(error, DomainError) else error
        description = f"{type(error).__name__}: {error}"
        log.error("set_aside", of=self._of, id=str(item), error=description, again_after=str(wait), exc_info=defect)

    def items(self) -> list[UUID]:
        """Return the items whose wait is not over."""
        now = monotonic()
        # An item without a failure for so long succeeds again, or no longer exists.
        for item in [one for one, until in self._until.items() if now - until > _WAIT_MAX.total_seconds()]:
            self._forget(item)
        waiting = [item for item, until in self._until.items() if until > now]
        _ASIDE.labels(self._of).set(len(waiting))
        return waiting

    def _forget(self, item: UUID) -> None:
        del self._tries[item], self._until[item]


@dataclass
class Batch:
    """The items of one transaction.

    Attributes:
        limit: How many items to take.
        without: The items to leave out.
        taken: The IDs of the items that were taken; recorded before anything can fail.
        corrupt: The items that were taken and not understood.
    """

    limit: int
    without: Sequence[UUID]
    taken: list[UUID] = field(default_factory=list)
    corrupt: list[DataCorrupt] = field(default_factory=list)

    def take(self, rows: Sequence[E | DataCorrupt]) -> list[E]:
        """Record the items that were taken; return those that are understood."""
        found: list[Any] = []
        for row in rows:
            if isinstance(row, DataCorrupt):
                self.corrupt.append(row)
                self.taken.append(UUID(row.entity_id))
            else:
                found.append(row)
                self.taken.append(found[-1].id)
        return found


class Batches:
    """A series of batches. A batch that fails is repeated with half as many items, until the culprit is alone.

    Args:
        of: The name of the batches, for logs and metrics.
    """

    def __init__(self, of: str) -> None:
        self._aside = Aside(of)
        self._limit: int | None = None

    async def next(self, size: int, work: Callable[[Batch], Awaitable[None]]) -> bool:
        """Run the work for a batch; return whether more items may be waiting.

        Args:
            size: How many items the batch may have.
            work: Takes items and serves them in one transaction.

        Raises:
            Exception: The error of the work, if it is the fault of no item, or of too many.
        """
        for failures in range(_FAILURES_MAX):
            limit = min(self._limit or size, size)
            batch = Batch(limit, self._aside.items())
            try:
                await work(batch)
            except Exception as error:
                if is_nobodys_fault(error) or not batch.taken or failures == _FAILURES_MAX - 1:
                    raise
                if len(batch.taken) == 1:
                    self._aside.put(batch.taken[0], error)
                    self._limit = None
                else:
                    self._limit = len(batch.taken) // 2
            else:
                for row in batch.corrupt:
                    self._aside.put(UUID(row.entity_id), row)
                # Grow slowly: the culprit may be among the next items.
                self._limit = None if self._limit is None or limit == size else 2 * limit
                return 0 < limit == len(batch.taken)
        raise AssertionError("the last failure was raised")
