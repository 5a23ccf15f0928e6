"""P4 and P5: the time from sending a job to entering its handler."""

from collections.abc import Mapping
from statistics import median

from tools.bench.platform.stack_under_test import PICKUP, StackUnderTest
from tools.bench.report.figures import Figures, percentile
from tools.errors import CommandError

_WARM_UP_MAX = 20


async def idle(stack: StackUnderTest) -> tuple[Figures, dict[str, list[float]]]:
    """Measure P4: one job after the other on an otherwise idle system.

    Returns:
        The figures, and the milliseconds of all jobs.
    """
    stack.say(f"P4: {stack.plan.pickups} jobs, one after the other")
    await _one_by_one(stack, min(stack.plan.pickups, _WARM_UP_MAX))
    waits = await _one_by_one(stack, stack.plan.pickups)
    return {
        "p4_ms_p50": percentile(waits, 50),
        "p4_ms_p99": percentile(waits, 99),
    }, {"p4_ms": waits}


async def _one_by_one(stack: StackUnderTest, jobs: int) -> list[float]:
    done = await stack.load("idle_jobs", job_type=PICKUP, jobs=jobs, callers=1)
    await stack.jobs.until_settled()
    return await _waits_ms(stack, done["sent_ns"])


async def busy(stack: StackUnderTest, rate: float) -> tuple[Figures, dict[str, list[float]]]:
    """Measure P5: jobs at a constant rate.

    Args:
        stack: The stack.
        rate: How many jobs a second are offered: half of P2's.

    Returns:
        The figures (medians), and the 99th percentile of each run.
    """
    plan = stack.plan
    stack.say(f"P5: {rate:.0f} jobs a second for {plan.offered_seconds:g} s, {plan.runs} times")
    runs: list[tuple[float, float]] = []
    for number in range(plan.runs + 1):
        seconds = plan.offered_seconds if number else min(plan.offered_seconds, 3)
        done = await stack.load("offer", job_type=PICKUP, rate=rate, seconds=seconds)
        await stack.jobs.until_settled()
        if number:  # the first one warms up
            waits = await _waits_ms(stack, done["sent_ns"])
            runs.append((percentile(waits, 50), percentile(waits, 99)))
    return {
        "p5_offered_per_second": rate,
        "p5_ms_p50": median(p50 for p50, _ in runs),
        "p5_ms_p99": median(p99 for _, p99 in runs),
    }, {"p5_ms_p99": [p99 for _, p99 in runs]}


async def _waits_ms(stack: StackUnderTest, sent_ns: Mapping[str, int]) -> list[float]:
    entered_ns = await stack.jobs.entered_ns(sent_ns)
    if missing := len(sent_ns) - len(entered_ns):
        raise CommandError(f"{missing} of {len(sent_ns)} jobs did not succeed")
    return [(entered_ns[job_id] - sent) / 1e6 for job_id, sent in sent_ns.items()]
