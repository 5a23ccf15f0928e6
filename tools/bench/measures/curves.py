"""Charts of throughput against the sizes that it depends on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tools.bench.measures import backlog
from tools.bench.plan import Plan
from tools.bench.platform.stack_under_test import Rates, Say, StackUnderTest, start_stack, watched
from tools.bench.report.svg import Chart, draw

_UP = "jobs a second"
_END_TO_END = "finished, end to end"
_SUBMITTED = "submitted"


@dataclass(frozen=True)
class CurvePoints:
    """The points at which the curves are measured.

    Attributes:
        batches: Jobs a call.
        callers: Concurrent callers, one job a call.
        queues: Jobs waiting.
        wallets: Wallets charged.
        runners: Runner processes.
    """

    batches: Sequence[int] = (1, 10, 50, 200, 500, 1000)
    callers: Sequence[int] = (1, 4, 16, 64, 128)
    queues: Sequence[int] = (1000, 10_000, 100_000)
    wallets: Sequence[int] = (1, 10, 100, 1000)
    runners: Sequence[int] = (1, 2, 4)


#: For a quick check that everything works.
QUICK_POINTS = CurvePoints((1, 100), (1, 16), (300, 600), (1, 10), (1, 2))


async def draw_all(plan: Plan, points: CurvePoints, say: Say, folder: Path, target: Path) -> Mapping[str, Chart]:
    """Measure all curves and write a file for each.

    Args:
        plan: The sizes of the runs.
        points: The points to measure.
        say: Prints the progress for people.
        folder: For stacks.
        target: The folder for the charts; created if it is missing.
    """
    async with start_stack(plan, say, folder / "curves") as stack:
        charts = dict(await watched(stack, lambda one: _on_one_stack(one, points)))
    charts["processes"] = await _processes(plan, points, say, folder)
    write(charts, target)
    return charts


def write(charts: Mapping[str, Chart], target: Path) -> None:
    """Write a file for each chart into a folder, which is created if it is missing."""
    target.mkdir(parents=True, exist_ok=True)
    for name, chart in charts.items():
        (target / f"{name}.svg").write_text(draw(chart), "utf-8")


async def _on_one_stack(stack: StackUnderTest, points: CurvePoints) -> dict[str, Chart]:
    plan = stack.plan
    await stack.finish(plan.warm_up, batch=plan.batch)
    sizes = [await _run(stack, plan.unary_jobs, batch=size) for size in points.batches]
    callers = [await _run(stack, plan.unary_jobs, callers=count) for count in points.callers]
    counts = [min(count, len(stack.customers)) for count in points.wallets]
    wallets = [
        await _run(stack, plan.batch_jobs, batch=plan.batch, customers=list(stack.customers[:count]))
        for count in counts
    ]
    return {
        "batch_size": _chart("One caller, jobs a call", "jobs a call", points.batches, sizes),
        "concurrency": _chart("One job a call, concurrent callers", "callers", points.callers, callers),
        "wallets": _chart(f"{plan.batch} jobs a call, wallets", "wallets", counts, wallets),
        "backlog": await _backlog(stack, points),
    }


async def _backlog(stack: StackUnderTest, points: CurvePoints) -> Chart:
    rates = [
        await backlog.rate(stack, waiting, finished=min(stack.plan.finished, waiting * 8 // 10))
        for waiting in points.queues
    ]
    return Chart("Jobs waiting", "jobs waiting at first", _UP, points.queues, {"finished": rates})


async def _processes(plan: Plan, points: CurvePoints, say: Say, folder: Path) -> Chart:
    async def run(stack: StackUnderTest) -> Rates:
        await stack.finish(plan.warm_up, batch=plan.batch)
        return await _run(stack, plan.batch_jobs, batch=plan.batch)

    found = []
    for count in points.runners:
        say(f"{count} runners")
        async with start_stack(plan, say, folder / f"runners-{count}", runners=count) as stack:
            found.append(await watched(stack, run))
    return _chart(f"{plan.batch} jobs a call, runner processes", "runners", points.runners, found)


async def _run(stack: StackUnderTest, jobs: int, *, batch: int = 1, callers: int = 1, **task: object) -> Rates:
    stack.say(f"{jobs} jobs, {batch} a call, {callers} callers")
    runs = [await stack.finish(jobs, batch=batch, callers=callers, **task) for _ in range(stack.plan.runs)]
    return Rates(median(run.submitted for run in runs), median(run.finished for run in runs))


def _chart(title: str, across: str, points: Sequence[int], found: Sequence[Rates]) -> Chart:
    series = {
        _END_TO_END: [rates.finished for rates in found],
        _SUBMITTED: [rates.submitted for rates in found],
    }
    return Chart(title, across, _UP, points, series)
