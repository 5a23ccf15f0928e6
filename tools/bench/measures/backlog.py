"""P6: how fast jobs are finished while many others wait."""

import time
from typing import Any

from innosystem.jobs.v1.job_service_pb2 import PauseQueueRequest, ResumeQueueRequest
from tools.bench.platform.stack_under_test import NOOP, Arena
from tools.bench.report.figures import Figures

_QUEUE = "default"
_BATCH = 1000
_CALLERS = 2
# The generator makes all requests before it begins, and a million would be a gigabyte.
_AT_ONCE = 50_000
# Filling takes minutes and is not measured: one call that a service had no time for is no reason to begin again.
_TRIES = 5


async def measure(arena: Arena) -> tuple[Figures, dict[str, Any]]:
    """Measures with a short queue and with a long one.

    What waits of the long queue is left to the end of the stack, so the arena should be for this alone.

    Returns:
        The figures, and the rates.
    """
    plan = arena.plan
    await arena.finish(plan.warm_up, batch=plan.batch)
    rates = [
        await rate(arena, waiting, finished=plan.finished, drain=waiting != plan.long_queue)
        for waiting in (plan.short_queue, plan.long_queue)
    ]
    return {
        "p6_short_jobs_per_second": rates[0],
        "p6_long_jobs_per_second": rates[1],
        "p6_ratio": rates[1] / rates[0],
    }, {}


async def rate(arena: Arena, waiting: int, *, finished: int, drain: bool = True) -> float:
    """How many jobs a second are finished of a queue that is filled while it is paused.

    Args:
        arena: Where.
        waiting: How many jobs wait.
        finished: How many of them are waited for; the first tenth of these is not counted.
        drain: Whether to wait for the others as well.
    """
    arena.say(f"{waiting:,} jobs waiting")
    await arena.platform.jobs.PauseQueue(PauseQueueRequest(queue=_QUEUE))
    for start in range(0, waiting, _AT_ONCE):
        jobs = min(_AT_ONCE, waiting - start)
        await arena.load("jobs", job_type=NOOP, jobs=jobs, batch=_BATCH, callers=_CALLERS, tries=_TRIES)
    # A table that has just grown by a million rows is vacuumed and analysed by PostgreSQL itself a minute later: that
    # is the filling's doing, so it is done before the clock runs, with the short queue as well.
    await arena.jobs.vacuum()
    since = time.time()
    await arena.platform.jobs.ResumeQueue(ResumeQueueRequest(queue=_QUEUE))
    first, began = await arena.jobs.until_charged(finished // 10, since)
    last, ended = await arena.jobs.until_charged(finished, since)
    if drain:
        await arena.jobs.until_settled()
    return (last - first) / (ended - began)
