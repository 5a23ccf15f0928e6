"""P4 and P5: how long after it was sent a job's handler is entered."""

from collections.abc import Mapping
from statistics import median

from tools.bench.platform.stack_under_test import PICKUP, Arena
from tools.bench.report.figures import Figures, percentile
from tools.errors import CommandError

_WARM_UP_MAX = 20


async def idle(arena: Arena) -> tuple[Figures, dict[str, list[float]]]:
    """P4: one job after the other on a system that does nothing else.

    Returns:
        The figures, and the milliseconds of all jobs.
    """
    arena.say(f"P4: {arena.plan.pickups} jobs, one after the other")
    await _one_by_one(arena, min(arena.plan.pickups, _WARM_UP_MAX))
    waits = await _one_by_one(arena, arena.plan.pickups)
    return {
        "p4_ms_p50": percentile(waits, 50),
        "p4_ms_p99": percentile(waits, 99),
    }, {"p4_ms": waits}


async def _one_by_one(arena: Arena, jobs: int) -> list[float]:
    done = await arena.load("idle_jobs", job_type=PICKUP, jobs=jobs, callers=1)
    await arena.jobs.until_settled()
    return await _waits_ms(arena, done["sent_ns"])


async def busy(arena: Arena, rate: float) -> tuple[Figures, dict[str, list[float]]]:
    """P5: jobs at a constant rate.

    Args:
        arena: Where.
        rate: How many jobs a second are offered: half of P2's.

    Returns:
        The figures (medians), and the 99th percentile of each run.
    """
    plan = arena.plan
    arena.say(f"P5: {rate:.0f} jobs a second for {plan.offered_seconds:g} s, {plan.runs} times")
    runs: list[tuple[float, float]] = []
    for number in range(plan.runs + 1):
        seconds = plan.offered_seconds if number else min(plan.offered_seconds, 3)
        done = await arena.load("offer", job_type=PICKUP, rate=rate, seconds=seconds)
        await arena.jobs.until_settled()
        if number:  # the first one warms up
            waits = await _waits_ms(arena, done["sent_ns"])
            runs.append((percentile(waits, 50), percentile(waits, 99)))
    return {
        "p5_offered_per_second": rate,
        "p5_ms_p50": median(p50 for p50, _ in runs),
        "p5_ms_p99": median(p99 for _, p99 in runs),
    }, {"p5_ms_p99": [p99 for _, p99 in runs]}


async def _waits_ms(arena: Arena, sent_ns: Mapping[str, int]) -> list[float]:
    entered_ns = await arena.jobs.entered_ns(sent_ns)
    if missing := len(sent_ns) - len(entered_ns):
        raise CommandError(f"{missing} of {len(sent_ns)} jobs did not succeed")
    return [(entered_ns[job_id] - sent) / 1e6 for job_id, sent in sent_ns.items()]
