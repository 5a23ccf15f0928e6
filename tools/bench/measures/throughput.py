"""P1 and P2: jobs end to end, from the first submission to the last settled job."""

from dataclasses import dataclass
from statistics import median

from tools.bench.platform.stack_under_test import Arena
from tools.bench.report.figures import Figures


@dataclass(frozen=True)
class Way:
    """How jobs are submitted.

    Attributes:
        name: Of the measure, in small letters.
        jobs: How many jobs a run.
        batch: How many a call.
        callers: How many calls at once.
    """

    name: str
    jobs: int
    batch: int
    callers: int


def in_batches(arena: Arena) -> Way:
    """P1: 200 a call."""
    return Way("p1", arena.plan.batch_jobs, arena.plan.batch, arena.plan.batch_callers)


def one_by_one(arena: Arena) -> Way:
    """P2: one job a call, 64 callers."""
    return Way("p2", arena.plan.unary_jobs, 1, arena.plan.callers)


async def measure(arena: Arena, way: Way) -> tuple[Figures, list[float]]:
    """Measures one way of submission.

    Returns:
        The figures (medians), and what each run had end to end.
    """
    arena.say(f"{way.name.upper()}: {way.jobs} jobs, {way.batch} a call, {arena.plan.runs} times")
    await arena.finish(arena.plan.warm_up, batch=way.batch, callers=way.callers)
    runs = [await arena.finish(way.jobs, batch=way.batch, callers=way.callers) for _ in range(arena.plan.runs)]
    figures = {
        f"{way.name}_submitted_per_second": median(submitted for submitted, _ in runs),
        f"{way.name}_jobs_per_second": median(finished for _, finished in runs),
    }
    return figures, [finished for _, finished in runs]
