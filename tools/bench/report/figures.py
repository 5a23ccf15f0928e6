"""The figures of the bench: their names, their targets, and how they are computed from single runs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Figures: TypeAlias = dict[str, float]

MEASURES: Final = ("P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8")


@dataclass(frozen=True)
class Figure:
    """A figure of the table.

    Attributes:
        measure: The measure, P1 to P8.
        title: A title for people.
        unit: The unit; empty for a ratio.
        better: Whether more or less is better.
        target: The target; None where only the ratios have targets.
    """

    measure: str
    title: str
    unit: str
    better: Literal["more", "less"]
    target: float | None = None

    def reached(self, value: float) -> bool | None:
        """Return whether a value is as good as the target, or None without a target."""
        if self.target is None:
            return None
        return value >= self.target if self.better == "more" else value <= self.target


KEYS: Final[Mapping[str, Figure]] = {
    "p1_jobs_per_second": Figure("P1", "jobs in batches of 200, end to end", "jobs/s", "more"),
    "p1_over_sql": Figure("P1", "of the SQL reference", "", "more", 0.4),
    "p1_over_dramatiq": Figure("P1", "of dramatiq doing the same work", "", "more", 5),
    "p2_jobs_per_second": Figure("P2", "jobs one a call, 64 callers, end to end", "jobs/s", "more"),
    "p2_over_dramatiq": Figure("P2", "of dramatiq doing the same work", "", "more", 1.5),
    "p3_deducts_per_second": Figure("P3", "unary Deduct, 64 callers, many wallets", "calls/s", "more"),
    "p3_over_echo": Figure("P3", "of unary echo on the same chassis", "", "more", 0.4),
    "p3_hot_over_p3": Figure("P3", "one hot wallet, of many wallets", "", "more", 0.8),
    "p4_ms_p50": Figure("P4", "pickup on an idle system, median", "ms", "less", 5),
    "p4_ms_p99": Figure("P4", "pickup on an idle system, 99 %", "ms", "less", 15),
    "p5_ms_p99": Figure("P5", "pickup at half of P2's rate, 99 %", "ms", "less", 50),
    "p6_ratio": Figure("P6", "throughput with a long queue, of that with a short one", "", "more", 0.75),
    "p7_mb_max": Figure("P7", "memory of the largest process at full load", "MB", "less", 150),
    "p7_mb_per_minute": Figure("P7", "growth of the fastest growing process (soak)", "MB/min", "less", 1),
    "p8_us": Figure("P8", "the layers' CPU time a unary call", "us", "less", 60),
}


def selected(names: Iterable[str]) -> frozenset[str]:
    """Parse a selection of measures.

    Args:
        names: Names such as `p1` or `P1,P4`; none for all.

    Raises:
        ValueError: A name is no measure; the message names it.
    """
    wanted = {part.strip().upper() for name in names for part in name.split(",") if part.strip()}
    if unknown := sorted(wanted - set(MEASURES)):
        raise ValueError(f"{', '.join(unknown)}: the measures are {', '.join(MEASURES)}")
    return frozenset(wanted or MEASURES)


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the smallest value that at least so many percent of the values do not exceed (nearest rank).

    Raises:
        ValueError: There are no values.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values to rank")
    # Rounded up, after removing the rounding errors of floats.
    rank = math.ceil(round(len(ordered) * percent / 100, 9))
    return ordered[max(rank, 1) - 1]


def slope_per_minute(points: Sequence[tuple[float, float]]) -> float:
    """Return the growth of a value a minute: the slope of the straight line of best fit.

    Args:
        points: Seconds and values.

    Raises:
        ValueError: All points are at one time.
    """
    count = len(points)
    middle = sum(at for at, _ in points) / count if count else 0.0
    mean = sum(value for _, value in points) / count if count else 0.0
    spread = sum((at - middle) ** 2 for at, _ in points)
    if not spread:
        raise ValueError("a slope needs points at two times or more")
    return 60 * sum((at - middle) * (value - mean) for at, value in points) / spread


def ratios(measured: Mapping[str, float], *, sql: float | None, dramatiq: float | None) -> Figures:
    """Return the ratios of the platform to the SQL reference and to dramatiq, where both sides were measured."""
    found: Figures = {}
    for measure, other, rate in (("p1", "sql", sql), ("p1", "dramatiq", dramatiq), ("p2", "dramatiq", dramatiq)):
        own = measured.get(f"{measure}_jobs_per_second")
        if own is not None and rate:
            found[f"{measure}_over_{other}"] = own / rate
    return found
