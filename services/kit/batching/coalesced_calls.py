"""The calls that a coalescer puts together, and the parts of them that are served at once."""

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
    """The work of a batch was cancelled from inside, so nobody knows what became of it."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much a coalescer takes.

    Attributes:
        items_max: How many items a batch may have; a single call may bring more.
        bytes_max: How many bytes the items of a batch may have; a single call may bring more.
        waiting_max: How many items may wait for their batch; calls beyond that are refused.
        held_bytes_max: How many bytes the items of all calls may have that are not answered yet; calls beyond that are
            refused.
        at_once: How many batches may be under way.
        pause_seconds_max: How long a pause after a batch may be: what took longer had other reasons than a busy
            service.
    """

    items_max: int = 500
    bytes_max: int = 4 * 1024 * 1024
    waiting_max: int = 10_000
    held_bytes_max: int = 64 * 1024 * 1024
    at_once: int = 2
    pause_seconds_max: float = 0.05


class Call(Generic[T, R]):
    """A call that waits for its answer.

    Args:
        items: What it brings.
        size: Their bytes.
        patient: Whether it waits for rows that are locked.
    """

    def __init__(self, items: Sequence[T], size: int, *, patient: bool) -> None:
        self.items = items
        self.size = size
        self.patient = patient
        self.answer: asyncio.Future[list[R | DomainError]] = asyncio.get_running_loop().create_future()
        self.context = contextvars.copy_context()
        self._results: list[R | DomainError | None] = []
        self._missing = len(items)

    def whole(self) -> "Part[T, R]":
        """All of it."""
        return Part(self, range(len(self.items)), self.items, self.size)

    def settle(self, positions: Sequence[int], results: Sequence[R | DomainError]) -> None:
        """Notes the results of items; with the last of them the caller has its answer."""
        if self.answer.done():
            return
        if len(results) == len(self.items):
            self.answer.set_result(list(results))
            return
        self._results = self._results or [None] * len(self.items)
        for position, result in zip(positions, results, strict=True):
            self._results[position] = result
        self._missing -= len(positions)
        if not self._missing:
            self.answer.set_result(cast("list[R | DomainError]", self._results))

    def fail(self, error: BaseException) -> None:
        """Has the caller raise an error, of its own: a traceback grows with whoever raises it."""
        if not self.answer.done():
            self.answer.set_exception(_own(error))


@dataclass(eq=False)
class Part(Generic[T, R]):
    """Some items of one call.

    Attributes:
        call: Which.
        positions: Where its items stand in the call.
        items: They themselves.
        size: Their bytes.
        until: Until when they are tried again in the lane of what is locked; None if they were not in it.
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
        """Whether nobody waits for it any more."""
        return self.call.answer.done()

    def only(self, indexes: Sequence[int]) -> "Part[T, R]":
        """The part of it that has these of its items."""
        items = [self.items[index] for index in indexes]
        size = self.size * len(items) // len(self)
        return Part(self.call, [self.positions[index] for index in indexes], items, size, self.until)

    def settle(self, results: Sequence[R | DomainError]) -> None:
        """Notes the results of its items."""
        self.call.settle(self.positions, results)


def next_batch(parts: deque[Part[T, R]], budget: Budget) -> list[Part[T, R]]:
    """Takes parts from the front as far as they fit into one batch; the first always does."""
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
    """Divides a batch of several items, between calls where there are several."""
    if len(batch) > 1:
        middle = len(batch) // 2
        return [batch[:middle], batch[middle:]]
    [part] = batch
    middle = len(part) // 2
    return [[part.only(range(middle))], [part.only(range(middle, len(part)))]]


def _own(error: BaseException) -> BaseException:
    try:
        made = _copied(error)
    except Exception:  # noqa: BLE001 - whatever its class does when it is made: then all raise the one that there is
        return error
    made.__cause__ = error
    return made


def _copied(error: BaseException) -> BaseException:
    try:
        return copy.copy(error)
    except TypeError:
        # Its `__init__` takes something else than what it hands to its base.
        made = type(error).__new__(type(error), *error.args)
        made.__dict__.update(error.__dict__)
        return made
