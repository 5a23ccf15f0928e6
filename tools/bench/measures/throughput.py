"""P1 and P2: jobs end to end, from the first submission to the last settled job."""

from dataclasses import dataclass
from statistics import median

from tools.bench.platform.stack_under_test import StackUnderTest
from tools.bench.report.figures import Figures


@dataclass(frozen=True)
class Workload:
    """A number of jobs, and how they are submitted.

    Attributes:
        name: The measure, in lower case.
        jobs: How many jobs a run.
        batch: How many jobs a call.
        callers: How many concurrent callers.
    """

    name: str
    jobs: int
    batch: int
    callers: int


def in_batches(stack: StackUnderTest) -> Workload:
    """Return the workload of P1: 200 jobs a call."""
    return Workload("p1", stack.plan.batch_jobs, stack.plan.batch, stack.plan.batch_callers)


def one_by_one(stack: StackUnderTest) -> Workload:
    """Return the workload of P2: one job a call, 64 callers."""
    return Workload("p2", stack.plan.unary_jobs, 1, stack.plan.callers)


async def measure(stack: StackUnderTest, workload: Workload) -> tuple[Figures, list[float]]:
    """Measure a workload.

    Returns:
        The figures (medians), and the rate of each run end to end.
    """
    stack.say(f"{workload.name.upper()}: {workload.jobs} jobs, {workload.batch} a call, {stack.plan.runs} times")
    await stack.finish(stack.plan.warm_up, batch=workload.batch, callers=workload.callers)
    runs = [
        await stack.finish(workload.jobs, batch=workload.batch, callers=workload.callers)
        for _ in range(stack.plan.runs)
    ]
    figures = {
        f"{workload.name}_submitted_per_second": median(run.submitted for run in runs),
        f"{workload.name}_jobs_per_second": median(run.finished for run in runs),
    }
    return figures, [run.finished for run in runs]
