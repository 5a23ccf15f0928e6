"""`innosystem bench`: the measures P1 to P8 of docs/performance.md, on a stack of its own, beside what others do.

What is measured, and how, is in `tools.bench`.
"""

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
from tools.errors import CommandError
from tools.local.stopping import until_stopped

if TYPE_CHECKING:
    from tools.bench.report.svg import Chart
    from tools.bench.run import Found

app = App(name="bench", help="Measure the platform on a stack of its own, beside bare SQL and other task queues.")
app.command(data)
app.command(history)
app.command(profile)

_PEERS_FOLDER = Path(".innosystem/bench-peers")


@app.default
async def bench(
    *,
    only: Annotated[str, Parameter(help="The measures wanted, such as P1,P4; all of P1 to P8 by default.")] = "",
    quick: Quick = False,
    runs: Annotated[
        int | None,
        WHOLE,
        Parameter(validator=validators.Number(gte=1), help="How often each is repeated; figures are medians."),
    ] = None,
    peers: Annotated[bool, Parameter(help="Measure dramatiq, taskiq, celery and procrastinate as well.")] = True,
    peers_folder: Annotated[
        Path, Parameter(help="Their virtual environment; made if it is missing, from a package index.")
    ] = _PEERS_FOLDER,
    soak: Annotated[
        float | None,
        Parameter(validator=validators.Number(gt=0), help="Minutes of full load, to see how memory grows."),
    ] = None,
    plots: Annotated[
        Path | None, Parameter(help="A folder for charts of throughput against what it depends on.")
    ] = None,
    json: FiguresFile = None,
) -> None:
    """Measure the platform on a stack of its own, beside bare SQL and other task queues.

    With --soak or --plots nothing else is measured, unless --only names it. Databases are made for it and dropped
    afterwards: on the servers that CUSTOMERS_DATABASE_URL and so on name, else on an embedded one.
    """
    from tools.bench.report.figures import selected
    from tools.bench.run import Wanted, run

    plan = _plan(quick=quick, runs=runs)
    try:
        measures = selected([only]) if only or (soak is None and plots is None) else frozenset[str]()
    except ValueError as error:
        raise CommandError(str(error)) from None
    wanted = Wanted(plan, measures, peers_folder.resolve() if peers else None, soak)
    with (
        logs_on_stderr(),
        tempfile.TemporaryDirectory(prefix="innosystem-bench-", ignore_cleanup_errors=True) as folder,
    ):
        found = await until_stopped(run(wanted, print_progress, Path(folder)))
        charts = await until_stopped(_draw(plan, Path(folder), plots, quick=quick)) if plots else {}
    _print(found)
    if json is not None:
        _write(json, found, {"quick": quick, "measures": sorted(measures), **plan.settings()}, charts)


def _plan(*, quick: bool, runs: int | None) -> Any:
    from dataclasses import replace

    from tools.bench.plan import QUICK, WHOLE

    plan = QUICK if quick else WHOLE
    return plan if runs is None else replace(plan, runs=runs)


async def _draw(plan: Any, folder: Path, target: Path, *, quick: bool) -> Mapping[str, "Chart"]:
    from tools.bench.measures.curves import QUICK_PLACES, Places, draw_all

    return await draw_all(plan, QUICK_PLACES if quick else Places(), print_progress, folder, target)


def _print(found: "Found") -> None:
    from tools.bench.report.report import TITLES, others, rows

    if shown := rows(found.figures):
        print_table(TITLES, shown)
    if beside := others(found.figures):
        print()
        print_table(["measured on the way", ""], beside)


def _write(file: Path, found: "Found", settings: Mapping[str, Any], charts: Mapping[str, "Chart"]) -> None:
    from tools.bench.peers import peer_runs as contest
    from tools.bench.report.machine import machine
    from tools.bench.report.report import write

    peers = contest.settings() if "dramatiq_jobs_per_second" in found.figures else {}
    document = {
        **found.figures,
        "machine": machine(),
        "versions": found.versions,
        "settings": {**settings, "services": found.services},
        "peers": peers,
        "runs": found.runs,
        "curves": {name: asdict(chart) for name, chart in charts.items()},
    }
    write(file, document)
