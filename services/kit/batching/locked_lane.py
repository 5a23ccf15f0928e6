"""A lane for the items of a coalescer whose rows are locked by another transaction, apart from all other items.

A batch discovers a locked row by waiting for its lock until the lock timeout. From then on, items that need the row
enter the lane and delay no batch.
"""

import asyncio
from asyncio import sleep
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Generic, Protocol, TypeVar

from prometheus_client import Counter

from services.kit.batching.coalesced_calls import Budget, Call, Part, next_batch
from services.kit.errors import DomainError, RowLocked

T = TypeVar("T")
R = TypeVar("R")

_LOCKED = Counter("innosystem_coalesced_locked", "Items whose row was locked, by what became of them.", ["of", "end"])


@dataclass(frozen=True)
class LockTimes:
    """How long items wait for locked rows.

    Attributes:
        patient_seconds: How long an item is retried if its caller waits for no other item.
        impatient_seconds: How long an item is retried if its caller waits for other items as well.
        known_seconds: How long a row counts as locked after it was found locked.
        pause_seconds: The pause between two rounds.
    """

    patient_seconds: float = 3.0
    impatient_seconds: float = 0.15
    known_seconds: float = 1.0
    pause_seconds: float = 0.05


LOCK_TIMES = LockTimes()


class Serve(Protocol[T, R]):
    """Runs the work for some parts and passes their results to the lane's `settle`."""

    async def __call__(self, batch: list[Part[T, R]], *, wait: bool = True) -> None:
        """Serve a batch.

        Args:
            batch: The parts.
            wait: Whether to wait for locks, until the lock timeout.
        """
        ...


class LockedLane(Generic[T, R]):
    """Retries items whose rows are locked, until the rows are unlocked or the time of the items is over.

    Each round tries all items without waiting for locks. In parallel, the lane waits for one row after another, because
    rounds without waiting never find a row unlocked that others lock repeatedly.

    Args:
        name: The name of the coalescer, for metrics.
        serve: Serves a batch.
        key: Returns the key of the row that an item locks; None if items share no rows.
        times: How long items wait.
        budget: The limits of a batch and of the waiting items.
    """

    def __init__(
        self,
        name: str,
        serve: Serve[T, R],
        key: Callable[[T], Hashable] | None,
        times: LockTimes,
        budget: Budget,
    ) -> None:
        self._name = name
        self._serve = serve
        self._key = key
        self._times = times
        self._budget = budget
        self._waiting: deque[Part[T, R]] = deque()
        # The rows that were found locked, and when each stops counting as locked.
        self._known: dict[Hashable, float] = {}
        self._run: asyncio.Task[None] | None = None
        self._in_line: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether a row was found locked recently."""
        return bool(self._known or self._waiting)

    def divert(self, call: Call[T, R]) -> Part[T, R] | None:
        """Move the items of a call with rows known to be locked into the lane; return the rest of the call."""
        whole = call.whole()
        if self._key is None or not self._known:
            return whole
        key, now = self._key, monotonic()
        locked = [at for at, item in enumerate(call.items) if self._known.get(key(item), now) > now]
        if not locked:
            return whole
        for at in locked:
            self._put(whole.only([at]), RowLocked())
        rest = sorted(set(range(len(call.items))) - set(locked))
        return whole.only(rest) if rest else None

    def settle(self, part: Part[T, R], results: Sequence[R | DomainError]) -> None:
        """Pass results to their caller, except for locked items with time left."""
        locked = [at for at, result in enumerate(results) if isinstance(result, RowLocked)]
        if not locked:
            self._settled(part, results)
            return
        rest = sorted(set(range(len(results))) - set(locked))
        for at in locked:
            one = part.only([at])
            self._known[self._key_of(one)] = monotonic() + self._times.known_seconds
            self._put(one, results[at])
        if rest:
            self._settled(part.only(rest), [results[at] for at in rest])

    def _settled(self, part: Part[T, R], results: Sequence[R | DomainError]) -> None:
        if part.until is not None:
            self._known.pop(self._key_of(part), None)
            _LOCKED.labels(self._name, "served").inc()
        part.settle(results)

    def _put(self, part: Part[T, R], error: R | DomainError) -> None:
        now = monotonic()
        if part.until is None:
            times = self._times
            part.until = now + (times.patient_seconds if part.call.patient else times.impatient_seconds)
        elif now >= part.until:
            _LOCKED.labels(self._name, "given up").inc()
            part.settle([error])
            return
        if len(self._waiting) >= self._budget.waiting_max:
            _LOCKED.labels(self._name, "refused").inc()
            part.settle([error])
            return
        self._waiting.append(part)
        if self._run is None:
            self._run = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        try:
            while self.is_open or self._in_line is not None:
                await sleep(self._times.pause_seconds)
                now = monotonic()
                self._known = {key: until for key, until in self._known.items() if until > now}
                self._wait_in_line()
                await self._round()
        except BaseException as error:
            # Only the end of the process raises here; all waiting calls fail with it.
            for part in self._waiting:
                part.call.fail(error)
            raise
        finally:
            self._run = None

    async def _round(self) -> None:
        left = len(self._waiting)
        while left > 0 and self._waiting:
            taken = next_batch(self._waiting, self._budget)
            left -= len(taken)
            # Items that are found locked again wait at the end, for the next round.
            if batch := [part for part in taken if not part.is_over]:
                await self._serve(batch, wait=False)

    def _wait_in_line(self) -> None:
        """Wait for the lock of the first patient item's row, beside the rounds; impatient callers have no time."""
        first = next((part for part in self._waiting if part.call.patient and not part.is_over), None)
        if self._in_line is not None or first is None:
            return
        key = self._key_of(first)
        parts = deque(part for part in self._waiting if part.call.patient and self._key_of(part) == key)
        taken = set(map(id, parts))
        self._waiting = deque(part for part in self._waiting if id(part) not in taken)
        self._in_line = asyncio.get_running_loop().create_task(self._line(parts))

    async def _line(self, parts: deque[Part[T, R]]) -> None:
        try:
            await self._serve(next_batch(parts, self._budget))
        finally:
            self._waiting.extend(parts)
            self._in_line = None

    def _key_of(self, part: Part[T, R]) -> Hashable:
        return part.call if self._key is None else self._key(part.items[0])
