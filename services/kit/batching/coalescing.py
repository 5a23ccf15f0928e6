"""Group commit: concurrent calls become one batch, because a transaction for each of them would cost a commit each.

The work of the first call begins immediately; calls that arrive while it runs form the next batch. A lone call
therefore does not wait, and batches grow with the load. After a small batch of several calls follows a pause as long as
its work took: a busy service is slow, and a few larger batches cost it far less than many small ones.

An item whose row is locked leaves its batch and waits in a lane of its own (`services.kit.batching.locked_lane`).
"""

import asyncio
from asyncio import sleep
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from time import monotonic
from typing import Generic, TypeVar

from prometheus_client import Counter, Histogram

from services.kit.batching.coalesced_calls import Budget, Call, Part, WorkCancelled, halved, next_batch
from services.kit.batching.locked_lane import LOCK_TIMES, LockedLane, LockTimes
from services.kit.data.errors import TooCostly
from services.kit.errors import DatabaseUnavailable, DomainError, Overloaded, RowLocked

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[list[T]], Awaitable[Sequence[R | DomainError]]]

_BUDGET = Budget()
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
# From this size on, the cost of the transaction is small beside the cost of its items.
_LARGE = 100
_BATCH_SIZE = Histogram(
    "innosystem_coalesced_batch_size", "Items that one transaction carried.", ["of"], buckets=_SIZES
)
_BISECTED = Counter("innosystem_coalesced_bisected", "Batches that failed and were bisected.", ["of"])


class Coalescer(Generic[T, R]):
    """Combines concurrent calls of one use case. Each caller receives its own results or its own error.

    Calls are served in the order of their arrival. A call that is cancelled before its batch begins is left out; later
    its work completes without a caller. A batch that fails is halved until the culprit is alone, so a bad item fails no
    neighbour; the work must be safe to repeat, as all work here is by its IDs and keys. While the database is
    unavailable, all calls fail immediately.

    Args:
        name: The name of the work, for metrics.
        work: Serves a batch; returns a result for each item, in the same order. May raise `RowLocked` after a short
            wait for a lock.
        unlocked: Serves a batch without waiting for locks; the result of an item whose row is locked is `RowLocked`.
        key: Returns the key of the row that an item locks: after one item found its row locked, items with the same key
            enter the lane immediately.
        size: Returns the size of an item in bytes.
        budget: The limits.
        times: How long items wait for locked rows.
    """

    def __init__(
        self,
        name: str,
        work: Work[T, R],
        *,
        unlocked: Work[T, R] | None = None,
        key: Callable[[T], Hashable] | None = None,
        size: Callable[[T], int] | None = None,
        budget: Budget = _BUDGET,
        times: LockTimes = LOCK_TIMES,
    ) -> None:
        self._work = work
        self._unlocked = unlocked or work
        self._size = size
        self._budget = budget
        self._parts: deque[Part[T, R]] = deque()
        self._waiting = 0
        self._bytes = 0
        self._runs = 0
        # The event loop keeps only weak references to tasks.
        self._tasks: set[asyncio.Task[None]] = set()
        self._sizes = _BATCH_SIZE.labels(name)
        self._bisected = _BISECTED.labels(name)
        self._lane: LockedLane[T, R] = LockedLane(name, self._serve, key, times, budget)

    @property
    def knows_locked(self) -> bool:
        """Whether rows were found locked recently."""
        return self._lane.is_open

    async def __call__(self, items: Sequence[T], *, patient: bool = False) -> list[R | DomainError]:
        """Run the work for some items.

        Args:
            items: The items.
            patient: Whether the caller waits for locked rows. A caller with many items does not, because its other
                items would have to wait as well.

        Returns:
            The results, aligned with the items; `RowLocked` for an item whose row stayed locked.

        Raises:
            Overloaded: If too many items are waiting.
        """
        if not items:
            return []
        size = sum(map(self._size, items)) if self._size else 0
        too_large = self._bytes > 0 and self._bytes + size > self._budget.held_bytes_max
        if self._waiting + len(items) > self._budget.waiting_max or too_large:
            raise Overloaded
        call: Call[T, R] = Call(items, size, patient=patient)
        self._bytes += size
        try:
            self._take(call)
            return await call.results
        finally:
            self._bytes -= size

    def _take(self, call: Call[T, R]) -> None:
        part = self._lane.divert(call) if self._lane.is_open else call.whole()
        if part is None:
            return
        self._parts.append(part)
        self._waiting += len(part)
        if self._runs < self._budget.concurrent_max:
            self._runs += 1
            run = asyncio.get_running_loop().create_task(self._run())
            self._tasks.add(run)
            run.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        try:
            while batch := self._next():
                began_at = monotonic()
                await self._serve(batch)
                if len(batch) > 1 and sum(map(len, batch)) < _LARGE:
                    await sleep(min(monotonic() - began_at, self._budget.pause_seconds_max))
        except BaseException as error:
            # Only the end of the process raises here; all waiting calls fail with it.
            _fail(list(self._parts), error)
            raise
        finally:
            # In the same step in which no part was left: a later call starts another run.
            self._runs -= 1

    def _next(self) -> list[Part[T, R]]:
        batch: list[Part[T, R]] = []
        while self._parts and not batch:
            taken = next_batch(self._parts, self._budget)
            self._waiting -= sum(map(len, taken))
            # Some callers have stopped waiting.
            batch = [part for part in taken if not part.is_over]
        return batch

    async def _serve(self, batch: list[Part[T, R]], *, wait: bool = True) -> None:
        """Run the work and complete its calls; locked items enter the lane."""
        items = [item for part in batch for item in part.items]
        self._sizes.observe(len(items))
        try:
            # Log lines and outgoing calls of the work carry the request ID of the batch's first call.
            work = asyncio.create_task(self._results(items, wait=wait), context=batch[0].call.context.copy())
            results = list(await work)
            if len(results) != len(items):
                raise RuntimeError(f"{len(results)} results for {len(items)} items")
        except BaseException as error:  # noqa: BLE001 - passed to the callers, which raise it
            await self._failed(batch, error, wait=wait)
            return
        at = 0
        for part in batch:
            self._lane.settle(part, results[at : at + len(part)])
            at += len(part)

    async def _results(self, items: list[T], *, wait: bool) -> Sequence[R | DomainError]:
        if wait:
            try:
                return await self._work(items)
            except RowLocked:
                if self._unlocked is self._work:
                    raise
        return await self._unlocked(items)

    async def _failed(self, batch: list[Part[T, R]], error: BaseException, *, wait: bool) -> None:
        if _is_end(error):
            _fail(batch, error)
            raise error
        left = [part for part in batch if not part.is_over]
        locked = isinstance(error, RowLocked)
        divisible = len(left) > 1 or (locked and left and len(left[0]) > 1)
        # The error of a part that is left alone may be caused by parts whose callers have stopped waiting.
        if not _is_unavailable(error) and (divisible or 0 < len(left) < len(batch)):
            self._bisected.inc()
            try:
                for some in halved(left) if divisible else [left]:
                    await self._serve(some, wait=wait and not locked)
            except BaseException as end:
                _fail(left, end)
                raise
        elif locked:
            for part in left:
                self._lane.settle(part, [RowLocked()])
        else:
            _fail(left, WorkCancelled() if isinstance(error, asyncio.CancelledError) else error)


def _fail(batch: list[Part[T, R]], error: BaseException) -> None:
    for part in batch:
        part.call.fail(error)


def _is_unavailable(error: BaseException) -> bool:
    """Whether the database is unavailable: bisecting the batch would find nothing."""
    return isinstance(error, DatabaseUnavailable) and not isinstance(error, TooCostly)


def _is_end(error: BaseException) -> bool:
    """Whether the process ends: a cancellation of this task does, one from inside the work does not."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return not isinstance(error, Exception)
