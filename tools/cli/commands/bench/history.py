"""`innosystem bench history`: the cost of a full jobs table, measured by `tools.bench.measures.history`."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from tools.cli.commands.bench.options import FiguresFile, Quick
from tools.cli.money import WHOLE
from tools.cli.output import logs_on_stderr, print_progress, print_table
from tools.local.stopping import until_stopped

if TYPE_CHECKING:
    from tools.bench.measures.history import History

_JOBS = 5_000_000


async def history(
    *,
    jobs: Annotated[
        int, WHOLE, Parameter(validator=validators.Number(gte=10_000), help="How many finished jobs the history has.")
    ] = _JOBS,
    runs: Annotated[
        int,
        WHOLE,
        Parameter(validator=validators.Number(gte=3), help="How often each measure is repeated; figures are medians."),
    ] = 5,
    quick: Quick = False,
    json: FiguresFile = None,
) -> None:
    """Measure the cost of a long history, against a stack without one.

    Both stacks run at the same time and take turns. Five million jobs take 6 GB of disk and some minutes to write.
    """
    from dataclasses import replace

    from tools.bench.measures.history import measure
    from tools.bench.plan import QUICK, WHOLE

    plan = replace(QUICK if quick else WHOLE, runs=runs)
    with (
        logs_on_stderr(),
        tempfile.TemporaryDirectory(prefix="innosystem-bench-", ignore_cleanup_errors=True) as folder,
    ):
        found = await until_stopped(measure(plan, jobs, print_progress, Path(folder)))
    _print(found)
    if json is not None:
        _write(json, found, {"quick": quick, "jobs": jobs, **plan.settings()})


def _print(found: "History") -> None:
    from tools.bench.measures.history import TARGET
    from tools.bench.report.report import shown

    rows = [
        [
            row.title,
            shown(row.empty, row.unit),
            shown(row.full, row.unit),
            f"{row.ratio:.2f}",
            f"at least {TARGET:g}",
            "reached" if row.ratio >= TARGET else "missed",
        ]
        for row in found.rows
    ]
    print_table(["measure", "without history", "with it", "ratio", "target", ""], rows)
    print()
    ratios = {row.key for row in found.rows}
    others = [[key.replace("_", " "), shown(value, "")] for key, value in found.figures.items() if key not in ratios]
    print_table(["measured on the way", ""], others)


def _write(file: Path, found: "History", settings: Mapping[str, Any]) -> None:
    from tools.bench.report.machine import machine
    from tools.bench.report.report import write

    write(file, {**found.figures, "machine": machine(), "settings": dict(settings), "runs": found.runs})
