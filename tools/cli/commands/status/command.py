"""`innosystem status`."""

import asyncio
import sys
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from tools.cli.commands.status.report import Found, Report
from tools.cli.follow import INTERVAL, Interval, redraw
from tools.cli.output import NOTHING, TEXT, Column, Columns, DocumentOutput, Output, print_document, print_list
from tools.errors import UsageError
from tools.local.target import target

if TYPE_CHECKING:
    from rich.text import Text

    from tools.local.target import Target

_Watch: TypeAlias = Annotated[
    bool, Parameter(name="--watch", negative="", show_default=False, help="Redraw the terminal until Ctrl-C.")
]
_NOTHING_WRONG = "Nothing is wrong."
_PARTS = Columns(
    (
        Column("part", lambda part, _: part.name),
        Column("state", lambda part, _: part.state),
        Column("version", lambda part, _: part.version or NOTHING),
        Column("address", lambda part, _: part.address or NOTHING, priority=1, cut=20),
    ),
    name="name",
)
_QUEUES = Columns(
    (
        Column("queue", lambda queue, _: queue.name),
        Column("waiting", lambda queue, _: f"{queue.waiting:,}", right=True),
        Column("running", lambda queue, _: f"{queue.running:,}", right=True),
        Column("oldest", lambda queue, _: _length(queue.oldest_seconds), right=True),
        Column("runners", lambda queue, _: f"{queue.runners:,}", right=True),
        Column("paused", lambda queue, _: "yes" if queue.paused else "no"),
    ),
    name="name",
)


async def status(*, follow: _Watch = False, interval: Interval = INTERVAL, output: DocumentOutput = TEXT) -> int:
    """Show what runs, what waits, who serves and what is wrong, each with the command that helps.

    The exit status is 0 if nothing is wrong, otherwise 1. Parts that do not reply within 4 s count as unreachable, and
    do not keep the others back.
    """
    chosen = target()
    if follow:
        if not (output.for_people and sys.stdout.isatty()):
            raise UsageError("--watch redraws a terminal: in a program, repeat `innosystem status -o json`")
        await redraw(partial(_look, chosen), lambda found: _drawn(Report(chosen.describe(), found)), interval=interval)
    report = Report(chosen.describe(), await _look(chosen))
    if not print_document(report.to_json(), output):
        _print(report, output)
    return 0 if report.ok else 1


async def _look(chosen: "Target") -> Found:
    from tools.cli.commands.status.parts import look_at_parts
    from tools.cli.commands.status.work import look_at_work

    found, work = await asyncio.gather(look_at_parts(chosen), look_at_work(chosen))
    if any(part.name == "jobs" and part.state in ("unreachable", "not serving") for part in found.parts):
        # This, or its cause, is said already.
        work.problems = []
    found.add(work)
    return found


def _drawn(report: Report) -> "Text":
    from rich.text import Text

    with redirect_stdout(StringIO()) as text:
        _print(report, TEXT)
    return Text(text.getvalue())


def _print(report: Report, output: Output) -> None:
    found = report.found
    print(f"{report.platform}\n")
    print_list(found.parts, _PARTS, output, nothing="")
    if found.queues is not None:
        print()
        print_list(found.queues, _QUEUES, output, nothing="No jobs wait or run.")
    if (runners := found.runners) is not None:
        states = {"active": runners.active, "stopping": runners.stopping, "lost": runners.lost}
        counts = ", ".join(f"{number:,} {state}" for state, number in states.items() if number) or "none"
        print(f"\nrunners: {counts}; {runners.busy:,} of {runners.slots:,} slots are busy")
    print()
    if report.ok:
        unknown = [part.name for part in found.parts if part.state == "unknown"]
        print(f"Nothing is wrong in what was checked; not checked: {', '.join(unknown)}" if unknown else _NOTHING_WRONG)
        if unknown:
            print(f"    {report.platform} does not say where they are")
    for problem in found.problems:
        print(f"! {problem.what}")
        if problem.command:
            print(f"    {problem.command}")


def _length(seconds: float | None) -> str:
    from tools.cli.output.cells import shown_seconds

    return NOTHING if seconds is None else shown_seconds(seconds)
