"""P6: the rate at which jobs are finished while many others wait."""

import time
from typing import Any

from innosystem.jobs.v1.job_service_pb2 import PauseQueueRequest, ResumeQueueRequest
from tools.bench.platform.stack_under_test import NOOP, StackUnderTest
from tools.bench.report.figures import Figures

_QUEUE = "default"
_BATCH = 1000
_CALLERS = 2
# The generator creates all requests before it begins, and a million would be a gigabyte.
_JOBS_A_RUN = 50_000
# Filling takes minutes and is not measured: one call that an overloaded service refuses is no reason to start over.
_TRIES = 5


async def measure(stack: StackUnderTest) -> tuple[Figures, dict[str, Any]]:
    """Measure with a short queue and with a long one.

    The rest of the long queue is left waiting, so the stack should serve this measure alone.

    Returns:
        The figures, and the rates.
    """
    plan = stack.plan
    await stack.finish(plan.warm_up, batch=plan.batch)
    rates = [
        await rate(stack, waiting, finished=plan.finished, drain=waiting != plan.long_queue)
        for waiting in (plan.short_queue, plan.long_queue)
    ]
    return {
        "p6_short_jobs_per_second": rates[0],
        "p6_long_jobs_per_second": rates[1],
        "p6_ratio": rates[1] / rates[0],
    }, {}


async def rate(stack: StackUnderTest, waiting: int, *, finished: int, drain: bool = True) -> float:
    """Return the jobs a second that are finished of a queue that is filled while it is paused.

    Args:
        stack: The stack.
        waiting: How many jobs wait.
        finished: How many of them to finish; the first tenth of these is not counted.
        drain: Whether to wait for the others as well.
    """
    stack.say(f"{waiting:,} jobs waiting")
    await stack.platform.jobs.PauseQueue(PauseQueueRequest(queue=_QUEUE))
    for start in range(0, waiting, _JOBS_A_RUN):
        jobs = min(_JOBS_A_RUN, waiting - start)
        await stack.load("jobs", job_type=NOOP, jobs=jobs, batch=_BATCH, callers=_CALLERS, tries=_TRIES)
    # PostgreSQL vacuums and analyses a table a minute after it has grown by a million rows. That is a cost of the
    # filling, so it is paid before the clock runs, with the short queue as well.
    await stack.jobs.vacuum()
    since = time.time()
    await stack.platform.jobs.ResumeQueue(ResumeQueueRequest(queue=_QUEUE))
    first, began = await stack.jobs.until_charged(finished // 10, since)
    last, ended = await stack.jobs.until_charged(finished, since)
    if drain:
        await stack.jobs.until_settled()
    return (last - first) / (ended - began)
