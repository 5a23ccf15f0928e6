"""`innosystem submit`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from services.cli.connect import platform
from services.cli.options import Json, PriorityName
from services.cli.output import console, print_json, print_pairs, printable

if TYPE_CHECKING:
    from collections import Counter

    from rich.status import Status

    from services.cli.submission import Report

_ERRORS_SHOWN = 20


async def submit(
    file: Annotated[str, Parameter(name="FILE", allow_leading_hyphen=True)],
    /,
    *,
    customer_id: Annotated[str, Parameter(show_default=False)] = "",
    job_type: Annotated[str, Parameter(show_default=False)] = "",
    priority: PriorityName | None = None,
    wait: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    as_json: Json = False,
) -> int:
    """Submit jobs from a JSON Lines file, or from standard input.

    Each line is one job: {"job_type": "python.source-stats", "customer_id": "...", "priority": "HIGH", "input": ...}.
    It may have a "job_id" (submitted again, it is the same job), "labels", "max_cost_cents", "run_at" and "expires_at".
    A line that is no job does not stop the others. The exit status is 1 if any job was refused or, with --wait, did not
    succeed.

    Args:
        file: The file, or - for standard input.
        customer_id: Who pays for jobs whose line does not say.
        job_type: The type of jobs whose line does not say.
        priority: The priority of jobs whose line does not say; by default that of their type.
        wait: Wait until all jobs have ended.
    """
    from services.cli.job_lines import Defaults, batches
    from services.cli.submission import Report, send, wait_until_final

    report = Report()
    ended: Counter[str] | None = None
    with _opened(file) as lines, _progress() as status:
        source = batches(lines, Defaults(customer_id, job_type, priority or ""))
        async with platform() as client:
            try:
                await send(client, source, report, lambda: status.update(_line(report)))
            except BaseException:
                sys.stderr.write(f"Before it failed: {_line(report)}.\n")
                raise
            if wait:
                job_ids = report.job_ids
                ended = await wait_until_final(
                    client, job_ids, lambda counts: status.update(f"{counts.total()} of {len(job_ids)} jobs ended")
                )
    _print(report, ended, as_json=as_json)
    return 1 if report.refused or (ended and ended.total() != ended["SUCCEEDED"]) else 0


@contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    if file == "-":
        # Opened anew, and left open: a thread may be waiting for the next line when the program ends, and holds the
        # lock that closing would wait for.
        yield open(0, "rb", closefd=False)  # noqa: SIM115
        return
    with Path(file).open("rb") as lines:
        yield lines


@contextmanager
def _progress() -> Iterator["Status"]:
    """Shows one line that changes, if somebody is there to see it."""
    on = console(sys.stderr)
    on.quiet = not sys.stderr.isatty()
    with on.status("Reading") as status:
        yield status


def _line(report: "Report") -> str:
    accepted, replayed, refused = len(report.accepted), len(report.replayed), len(report.refused)
    return f"{accepted} accepted, {replayed} replayed, {refused} refused"


def _print(report: "Report", ended: "Counter[str] | None", *, as_json: bool) -> None:
    errors = sorted(report.refused, key=lambda each: each.line)
    if as_json:
        found: dict[str, Any] = {
            "accepted": len(report.accepted),
            "replayed": len(report.replayed),
            "refused": dict(report.reasons),
            "job_ids": report.job_ids,
            "errors": [vars(each) for each in errors],
        }
        print_json(found if ended is None else {**found, "ended": dict(ended)})
        return
    for each in errors[:_ERRORS_SHOWN]:
        sys.stderr.write(f"line {each.line}: {each.reason}: {printable(each.message)}\n")
    if more := errors[_ERRORS_SHOWN:]:
        sys.stderr.write(f"... and {len(more)} more lines were refused; --json lists them all\n")
    counts = {"accepted": str(len(report.accepted)), "replayed": str(len(report.replayed))}
    counts |= {"refused": ", ".join(f"{n} {reason}" for reason, n in report.reasons.most_common()) or "0"}
    counts |= {status.lower(): str(number) for status, number in (ended or {}).items()}
    print_pairs(counts)
