"""The timing of `innosystem bench data`: operations, their durations, and their figures."""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any

from services.kit.data.transactions.ambient import Transactions

_MS = 1000


async def _nothing() -> None:
    """Prepare nothing."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A call of a repository, in a separate transaction.

    Attributes:
        name: A name such as `jobs.claim`.
        rows: How many rows a call reads or writes.
        transactions: Begins the transaction; begin and commit are timed as well.
        call: The call, which receives the prepared value.
        prepare: Prepares the value for the call; this is not timed.
        read_only: Whether the transaction is read-only.
    """

    name: str
    rows: int
    transactions: Transactions[Any]
    call: Callable[[Any], Awaitable[None]]
    prepare: Callable[[], Awaitable[Any]] = _nothing
    read_only: bool = False

    async def measure(self, seconds: float, restore: Callable[[], None]) -> list[float]:
        """Make the call repeatedly, at least once.

        Args:
            seconds: The total time, preparations included.
            restore: Undoes the changes of the calls before, where more rows would slow the next call.

        Returns:
            The seconds of each call.
        """
        end = perf_counter() + seconds
        durations: list[float] = []
        while not durations or perf_counter() < end:
            restore()
            prepared = await self.prepare()
            began = perf_counter()
            async with self.transactions.begin(read_only=self.read_only):
                await self.call(prepared)
            durations.append(perf_counter() - began)
        return durations


@dataclass
class Timings:
    """The durations of calls, run by run."""

    runs: list[Sequence[float]] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """Return the median of the runs' rates, and percentiles of all calls."""
        durations = sorted(duration for run in self.runs for duration in run)
        return {
            "calls": len(durations),
            "calls_per_second": round(median(len(run) / sum(run) for run in self.runs), 1),
            "p50_ms": percentile_ms(durations, 0.50),
            "p99_ms": percentile_ms(durations, 0.99),
        }


def percentile_ms(ordered: Sequence[float], share: float) -> float:
    """Return the duration in milliseconds that this share of the durations does not exceed.

    Args:
        ordered: Seconds, the shortest first.
        share: Above 0, at most 1.
    """
    return round(ordered[math.ceil(share * len(ordered)) - 1] * _MS, 4)
