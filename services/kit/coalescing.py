"""Concurrent calls become one batch: a transaction for each of them would cost a commit each.

The first call's work begins at once; what arrives while it is under way is the next batch. So a lone call does not
wait, and batches grow by themselves with the load (group commit). After a small batch of several calls there is a pause
as long as its work took: a busy service is slow, and the larger batches that it then gets cost it far less than many
small ones.
"""

import asyncio
import contextvars
import copy
from asyncio import sleep
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Generic, TypeVar

from prometheus_client import Counter, Histogram

from services.kit.data.errors import TooCostly
from services.kit.errors import DatabaseUnavailable, DomainError, Overloaded

T = TypeVar("T")
R = TypeVar("R")

_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
# From here on what a transaction costs by itself is little beside what its items cost.
_LARGE = 100
_BATCH_SIZE = Histogram(
    "innosystem_coalesced_batch_size", "Items that one transaction carried.", ["of"], buckets=_SIZES
)
_BISECTED = Counter("innosystem_coalesced_bisected", "Batches that failed and were taken apart.", ["of"])


@dataclass(eq=False)
class _Call(Generic[T, R]):
    items: Sequence[T]
    answer: "asyncio.Future[list[R | DomainError]]"
    context: contextvars.Context = field(default_factory=contextvars.copy_context)


class Coalescer(Generic[T, R]):
    """Puts concurrent calls of one use case together. Each caller gets its own results or its own error.

    Calls are served in the order in which they came. One that is cancelled before its batch begins is left out of it;
    after that the work is done, and nobody hears of it. A batch that fails is halved until the culprit is alone, so it
    fails no neighbour; the work must be safe to repeat, as all of ours is by its IDs and keys. When the database is not
    there, everybody is told so at once.

    Args:
        name: What is put together, for metrics.
        work: Does it for a batch; answers a result for each item, in the same order.
        items_max: How many items a batch may have; a single call may bring more.
        waiting_max: How many items may wait for their batch; calls beyond that are refused.
        at_once: How many batches may be under way.
        pause_seconds_max: How long a pause after a batch may be: what took longer had other reasons than a busy
            service.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[list[T]], Awaitable[Sequence[R | DomainError]]],
        *,
        items_max: int = 500,
        waiting_max: int = 10_000,
        at_once: int = 2,
        pause_seconds_max: float = 0.05,
    ) -> None:
        self._work = work
        self._items_max = items_max
        self._waiting_max = waiting_max
        self._at_once = at_once
        self._pause_seconds_max = pause_seconds_max
        self._calls: deque[_Call[T, R]] = deque()
        self._waiting = 0
        self._runs = 0
        # The loop keeps no more than a weak reference to a task.
        self._tasks: set[asyncio.Task[None]] = set()
        self._sizes = _BATCH_SIZE.labels(name)
        self._bisected = _BISECTED.labels(name)

    async def __call__(self, items: Sequence[T]) -> list[R | DomainError]:
        """Has the work done for some items.

        Returns:
            The results, aligned with the items.

        Raises:
            Overloaded: If too much is waiting.
        """
        if not items:
            return []
        if self._waiting + len(items) > self._waiting_max:
            raise Overloaded
        loop = asyncio.get_running_loop()
        call: _Call[T, R] = _Call(items, loop.create_future())
        self._calls.append(call)
        self._waiting += len(items)
        if self._runs < self._at_once:
            self._runs += 1
            run = loop.create_task(self._run())
            self._tasks.add(run)
            run.add_done_callback(self._tasks.discard)
        return await call.answer

    async def _run(self) -> None:
        try:
            while batch := self._next():
                began_at = monotonic()
                await self._serve(batch)
                if len(batch) > 1 and sum(len(call.items) for call in batch) < _LARGE:
                    await sleep(min(monotonic() - began_at, self._pause_seconds_max))
        finally:
            # In the same step in which nothing was left: who comes after that finds it over, and begins another one.
            self._runs -= 1

    def _next(self) -> list[_Call[T, R]]:
        batch: list[_Call[T, R]] = []
        size = 0
        while self._calls and (not batch or size + len(self._calls[0].items) <= self._items_max):
            call = self._calls.popleft()
            self._waiting -= len(call.items)
            # Its caller has gone away, or its time is over.
            if not call.answer.done():
                batch.append(call)
                size += len(call.items)
        return batch

    async def _serve(self, batch: list[_Call[T, R]]) -> None:
        items = [item for call in batch for item in call.items]
        self._sizes.observe(len(items))
        try:
            # What is said and asked on the way carries the request ID of the first of them.
            results = list(await asyncio.create_task(self._do(items), context=batch[0].context))
        except Exception as error:  # noqa: BLE001 - it is handed to the callers, who raise it
            await self._divide(batch, error)
            return
        at = 0
        for call in batch:
            if not call.answer.done():
                call.answer.set_result(results[at : at + len(call.items)])
            at += len(call.items)

    async def _do(self, items: list[T]) -> Sequence[R | DomainError]:
        return await self._work(items)

    async def _divide(self, batch: list[_Call[T, R]], error: Exception) -> None:
        if len(batch) > 1 and not _is_away(error):
            self._bisected.inc()
            middle = len(batch) // 2
            await self._serve(batch[:middle])
            await self._serve(batch[middle:])
            return
        for call in batch:
            if not call.answer.done():
                # Each raises an error of its own: a traceback grows with whoever raises it.
                call.answer.set_exception(copy.copy(error))


def _is_away(error: Exception) -> bool:
    return isinstance(error, DatabaseUnavailable) and not isinstance(error, TooCostly)
