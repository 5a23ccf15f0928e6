"""Throughput against what it depends on, as charts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tools.bench.measures import backlog
from tools.bench.plan import Plan
from tools.bench.platform.stack_under_test import Arena, Say, arena, watched
from tools.bench.report.svg import Chart, draw

_UP = "jobs a second"
_END_TO_END = "finished, end to end"
_SUBMITTED = "submitted"


@dataclass(frozen=True)
class Places:
    """Where the curves are measured.

    Attributes:
        batches: Jobs a call.
        callers: Callers at once, one job a call.
        queues: Jobs waiting.
        wallets: Wallets charged.
        runners: Runner processes.
    """

    batches: Sequence[int] = (1, 10, 50, 200, 500, 1000)
    callers: Sequence[int] = (1, 4, 16, 64, 128)
    queues: Sequence[int] = (1000, 10_000, 100_000)
    wallets: Sequence[int] = (1, 10, 100, 1000)
    runners: Sequence[int] = (1, 2, 4)


#: To see that everything works.
QUICK_PLACES = Places((1, 100), (1, 16), (300, 600), (1, 10), (1, 2))


async def draw_all(plan: Plan, places: Places, say: Say, folder: Path, target: Path) -> Mapping[str, Chart]:
    """Measures all curves and writes a file for each.

    Args:
        plan: The sizes of the runs.
        places: Where to measure.
        say: Tells people how far it is.
        folder: For stacks.
        target: The folder for the charts; made if it is missing.
    """
    async with arena(plan, say, folder / "curves") as place:
        charts = dict(await watched(place, lambda one: _on_one_stack(one, places)))
    charts["processes"] = await _processes(plan, places, say, folder)
    write(charts, target)
    return charts


def write(charts: Mapping[str, Chart], target: Path) -> None:
    """Writes a file for each chart into a folder, which is made if it is missing."""
    target.mkdir(parents=True, exist_ok=True)
    for name, chart in charts.items():
        (target / f"{name}.svg").write_text(draw(chart), "utf-8")


async def _on_one_stack(place: Arena, places: Places) -> dict[str, Chart]:
    plan = place.plan
    await place.finish(plan.warm_up, batch=plan.batch)
    sizes = [await _run(place, plan.unary_jobs, batch=size) for size in places.batches]
    callers = [await _run(place, plan.unary_jobs, callers=count) for count in places.callers]
    counts = [min(count, len(place.customers)) for count in places.wallets]
    wallets = [
        await _run(place, plan.batch_jobs, batch=plan.batch, customers=list(place.customers[:count]))
        for count in counts
    ]
    return {
        "batch_size": _chart("One caller, jobs a call", "jobs a call", places.batches, sizes),
        "concurrency": _chart("One job a call, callers at once", "callers", places.callers, callers),
        "wallets": _chart(f"{plan.batch} jobs a call, wallets", "wallets", counts, wallets),
        "backlog": await _backlog(place, places),
    }


async def _backlog(place: Arena, places: Places) -> Chart:
    rates = [
        await backlog.rate(place, waiting, finished=min(place.plan.finished, waiting * 8 // 10))
        for waiting in places.queues
    ]
    return Chart("Jobs waiting", "jobs waiting at first", _UP, places.queues, {"finished": rates})


async def _processes(plan: Plan, places: Places, say: Say, folder: Path) -> Chart:
    async def run(place: Arena) -> tuple[float, float]:
        await place.finish(plan.warm_up, batch=plan.batch)
        return await _run(place, plan.batch_jobs, batch=plan.batch)

    found = []
    for count in places.runners:
        say(f"{count} runners")
        async with arena(plan, say, folder / f"runners-{count}", runners=count) as place:
            found.append(await watched(place, run))
    return _chart(f"{plan.batch} jobs a call, runner processes", "runners", places.runners, found)


async def _run(place: Arena, jobs: int, *, batch: int = 1, callers: int = 1, **task: object) -> tuple[float, float]:
    place.say(f"{jobs} jobs, {batch} a call, {callers} callers")
    runs = [await place.finish(jobs, batch=batch, callers=callers, **task) for _ in range(place.plan.runs)]
    return median(submitted for submitted, _ in runs), median(finished for _, finished in runs)


def _chart(title: str, across: str, places: Sequence[int], found: Sequence[tuple[float, float]]) -> Chart:
    series = {
        _END_TO_END: [finished for _, finished in found],
        _SUBMITTED: [submitted for submitted, _ in found],
    }
    return Chart(title, across, _UP, places, series)
