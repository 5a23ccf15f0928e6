"""`innosystem bench profile`: the use of CPU time under P1 and P2, measured by `tools.bench.profile.profiling`."""

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tools.cli.commands.bench.options import Quick
from tools.cli.output import logs_on_stderr, print_progress, print_table
from tools.errors import UsageError
from tools.local.stopping import until_stopped

if TYPE_CHECKING:
    from tools.bench.profile.profiling import Profiled

_FOLDER = Path(".innosystem/profile")


async def profile(
    *,
    only: Annotated[str, Parameter(help="P1 or P2; both by default.")] = "",
    folder: Annotated[
        Path, Parameter(help="The folder for the collapsed stacks, for speedscope or flamegraph.pl.")
    ] = _FOLDER,
    quick: Quick = False,
) -> None:
    """Show the use of CPU time: by process, and in Python by package and by function.

    On a stack as for `innosystem bench`, each measure runs once uncounted and once profiled: CPU time from /proc, and
    samples by py-spy, which needs the right to read the stack's processes (root, or kernel.yama.ptrace_scope=0). The
    last line of the first table contains the CPU time of the sampling itself.
    """
    from tools.bench.plan import QUICK, WHOLE
    from tools.bench.profile.profiling import profile as run

    measures = _measures(only)
    with (
        logs_on_stderr(),
        tempfile.TemporaryDirectory(prefix="innosystem-bench-", ignore_cleanup_errors=True) as place,
    ):
        plan = QUICK if quick else WHOLE
        target = await asyncio.to_thread(folder.resolve)
        await until_stopped(run(plan, measures, print_progress, folder=Path(place), target=target, done=_print))
    print(f"The collapsed stacks are in {folder}, for speedscope or flamegraph.pl.")


def _measures(only: str) -> list[str]:
    from tools.bench.profile.profiling import MEASURES
    from tools.bench.report.figures import selected

    try:
        wanted = selected([only]) if only else frozenset(MEASURES)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if others := sorted(wanted - set(MEASURES)):
        raise UsageError(f"{', '.join(others)}: only {' and '.join(MEASURES)} can be profiled")
    return [measure for measure in MEASURES if measure in wanted]


def _print(profiled: "Profiled") -> None:
    from tools.bench.profile.tables import headline, tables

    print(headline(profiled))
    for titles, rows in tables(profiled):
        print()
        print_table(titles, rows)
    print()
