"""`innosystem bench`: the measures P1 to P8 of docs/performance.md, implemented by `tools.bench`."""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter, validators

from tools.cli.commands.bench.data import data
from tools.cli.commands.bench.history import history
from tools.cli.commands.bench.options import FiguresFile, Quick
from tools.cli.commands.bench.profile import profile
from tools.cli.money import WHOLE
from tools.cli.output import logs_on_stderr, print_progress, print_table
from tools.errors import UsageError
from tools.local.stopping import until_stopped

if TYPE_CHECKING:
    from tools.bench.plan import Plan
    from tools.bench.report.svg import Chart
    from tools.bench.run import BenchResult

app = App(name="bench", help="Measure the platform on a separate stack, beside bare SQL and other task queues.")
app.command(data)
app.command(history)
app.command(profile)

_PEERS_FOLDER = Path(".innosystem/bench-peers")


@app.default
async def bench(
    *,
    only: Annotated[str, Parameter(help="The measures to run, such as P1,P4; by default P1 to P8.")] = "",
    quick: Quick = False,
    runs: Annotated[
        int | None,
        WHOLE,
        Parameter(validator=validators.Number(gte=1), help="How often each measure is repeated; figures are medians."),
    ] = None,
    peers: Annotated[bool, Parameter(help="Measure dramatiq, taskiq, celery and procrastinate as well.")] = True,
    peers_folder: Annotated[
        Path, Parameter(help="Their virtual environment, created from a package index if it is missing.")
    ] = _PEERS_FOLDER,
    soak: Annotated[
        float | None,
        Parameter(validator=validators.Number(gt=0), help="Minutes of full load, to measure the growth of memory."),
    ] = None,
    plots: Annotated[
        Path | None, Parameter(help="A folder for charts of throughput against the sizes that it depends on.")
    ] = None,
    json: FiguresFile = None,
) -> None:
    """Measure the platform on a separate stack, beside bare SQL and other task queues.

    With --soak or --plots nothing else is measured, unless --only names it. The databases are temporary: on the servers
    that CUSTOMERS_DATABASE_URL and so on name, else on an embedded server.
    """
    from tools.bench.report.figures import selected
    from tools.bench.run import BenchRequest, run

    plan = _plan(quick=quick, runs=runs)
    try:
        measures = selected([only]) if only or (soak is None and plots is None) else frozenset[str]()
    except ValueError as error:
        raise UsageError(str(error)) from None
    request = BenchRequest(plan, measures, peers_folder.resolve() if peers else None, soak)
    with (
        logs_on_stderr(),
        tempfile.TemporaryDirectory(prefix="innosystem-bench-", ignore_cleanup_errors=True) as folder,
    ):
        result = await until_stopped(run(request, print_progress, Path(folder)))
        charts = await until_stopped(_draw(plan, Path(folder), plots, quick=quick)) if plots else {}
    _print(result)
    if json is not None:
        _write(json, result, {"quick": quick, "measures": sorted(measures), **plan.settings()}, charts)


def _plan(*, quick: bool, runs: int | None) -> "Plan":
    from dataclasses import replace

    from tools.bench.plan import QUICK, WHOLE

    plan = QUICK if quick else WHOLE
    return plan if runs is None else replace(plan, runs=runs)


async def _draw(plan: "Plan", folder: Path, target: Path, *, quick: bool) -> Mapping[str, "Chart"]:
    from tools.bench.measures.curves import QUICK_POINTS, CurvePoints, draw_all

    return await draw_all(plan, QUICK_POINTS if quick else CurvePoints(), print_progress, folder, target)


def _print(result: "BenchResult") -> None:
    from tools.bench.report.report import TITLES, others, rows

    if shown := rows(result.figures):
        print_table(TITLES, shown)
    if beside := others(result.figures):
        print()
        print_table(["measured on the way", ""], beside)


def _write(file: Path, result: "BenchResult", settings: Mapping[str, Any], charts: Mapping[str, "Chart"]) -> None:
    from tools.bench.peers import peer_runs
    from tools.bench.report.machine import machine
    from tools.bench.report.report import write

    peers = peer_runs.settings() if "dramatiq_jobs_per_second" in result.figures else {}
    document = {
        **result.figures,
        "machine": machine(),
        "versions": result.versions,
        "settings": {**settings, "services": result.services},
        "peers": peers,
        "runs": result.runs,
        "curves": {name: asdict(chart) for name, chart in charts.items()},
    }
    write(file, document)
