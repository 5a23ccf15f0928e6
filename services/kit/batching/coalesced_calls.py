"""The calls that a coalescer combines, and the parts of calls that form a batch."""

import asyncio
import contextvars
import copy
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from services.kit.errors import DomainError

T = TypeVar("T")
R = TypeVar("R")


class WorkCancelled(Exception):
    """The work of a batch was cancelled from inside, with an unknown outcome."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The limits of a coalescer.

    Attributes:
        items_max: How many items a batch may have; a single call may exceed it.
        bytes_max: How many bytes the items of a batch may have; a single call may exceed it.
        waiting_max: How many items may wait for their batch; further calls are refused.
        held_bytes_max: How many bytes the items of all unfinished calls may have; further calls are refused.
        concurrent_max: How many batches may run at the same time.
        pause_seconds_max: How long a pause after a batch may be: a longer batch was slow for other reasons than load.
    """

    items_max: int = 500
    bytes_max: int = 4 * 1024 * 1024
    waiting_max: int = 10_000
    held_bytes_max: int = 64 * 1024 * 1024
    concurrent_max: int = 2
    pause_seconds_max: float = 0.05


class Call(Generic[T, R]):
    """A call that waits for its results.

    Args:
        items: Its items.
        size: Their size in bytes.
        patient: Whether the call waits for locked rows.
    """

    def __init__(self, items: Sequence[T], size: int, *, patient: bool) -> None:
        self.items = items
        self.size = size
        self.patient = patient
        self.results: asyncio.Future[list[R | DomainError]] = asyncio.get_running_loop().create_future()
        self.context = contextvars.copy_context()
        self._results: list[R | DomainError | None] = []
        self._missing = len(items)

    def whole(self) -> "Part[T, R]":
        """Return the whole call as one part."""
        return Part(self, range(len(self.items)), self.items, self.size)

    def settle(self, positions: Sequence[int], results: Sequence[R | DomainError]) -> None:
        """Store the results of items; the last of them completes the call."""
        if self.results.done():
            return
        if len(results) == len(self.items):
            self.results.set_result(list(results))
            return
        self._results = self._results or [None] * len(self.items)
        for position, result in zip(positions, results, strict=True):
            self._results[position] = result
        self._missing -= len(positions)
        if not self._missing:
            self.results.set_result(cast("list[R | DomainError]", self._results))

    def fail(self, error: BaseException) -> None:
        """Fail the call with its own copy of an error: each caller that raises a shared one extends its traceback."""
        if not self.results.done():
            self.results.set_exception(_own(error))


@dataclass(eq=False)
class Part(Generic[T, R]):
    """Some items of one call.

    Attributes:
        call: The call.
        positions: The positions of the items in the call.
        items: The items.
        size: Their size in bytes.
        until: When the lane of locked rows gives up on the items; None if they are not in the lane.
    """

    call: Call[T, R]
    positions: Sequence[int]
    items: Sequence[T]
    size: int
    until: float | None = None

    def __len__(self) -> int:
        return len(self.items)

    @property
    def is_over(self) -> bool:
        """Whether its caller has stopped waiting."""
        return self.call.results.done()

    def only(self, indexes: Sequence[int]) -> "Part[T, R]":
        """Return a part with the items at some indexes."""
        items = [self.items[index] for index in indexes]
        size = self.size * len(items) // len(self)
        return Part(self.call, [self.positions[index] for index in indexes], items, size, self.until)

    def settle(self, results: Sequence[R | DomainError]) -> None:
        """Store the results of its items."""
        self.call.settle(self.positions, results)


def next_batch(parts: deque[Part[T, R]], budget: Budget) -> list[Part[T, R]]:
    """Take parts from the front that fit into one batch; always takes the first."""
    batch: list[Part[T, R]] = []
    items = size = 0
    while parts:
        items += len(parts[0])
        size += parts[0].size
        if batch and (items > budget.items_max or size > budget.bytes_max):
            break
        batch.append(parts.popleft())
    return batch


def halved(batch: list[Part[T, R]]) -> list[list[Part[T, R]]]:
    """Divide a batch of several items, between calls where possible."""
    if len(batch) > 1:
        middle = len(batch) // 2
        return [batch[:middle], batch[middle:]]
    [part] = batch
    middle = len(part) // 2
    return [[part.only(range(middle))], [part.only(range(middle, len(part)))]]


def _own(error: BaseException) -> BaseException:
    try:
        made = _copied(error)
    except Exception:  # noqa: BLE001 - its class may raise anything: then all callers raise the same object
        return error
    made.__cause__ = error
    return made


def _copied(error: BaseException) -> BaseException:
    try:
        return copy.copy(error)
    except TypeError:
        # Its `__init__` takes other arguments than it passes to its base.
        made = type(error).__new__(type(error), *error.args)
        made.__dict__.update(error.__dict__)
        return made
