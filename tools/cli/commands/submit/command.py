"""`innosystem submit`."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from tools.cli.connect import platform
from tools.cli.options import Json, PriorityName
from tools.cli.output import console, print_json, print_pairs, printable

if TYPE_CHECKING:
    from rich.status import Status

    from tools.cli.commands.submit.submission import SubmissionReport

_ERRORS_SHOWN = 20


async def submit(
    file: Annotated[str, Parameter(name="FILE", allow_leading_hyphen=True)],
    /,
    *,
    customer_id: Annotated[str, Parameter(show_default=False)] = "",
    job_type: Annotated[str, Parameter(show_default=False)] = "",
    priority: PriorityName | None = None,
    idempotency_key: Annotated[str, Parameter(show_default=False)] = "",
    wait: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    timeout: Annotated[float | None, Parameter(validator=validators.Number(gt=0), show_default=False)] = None,
    as_json: Json = False,
) -> int:
    """Submit jobs from a JSON Lines file, or from standard input.

    Each line is one job: {"job_type": "python.source-stats", "customer_id": "...", "priority": "HIGH", "input": ...}.
    It may have a "job_id", "labels", "max_cost_cents", "run_at" and "expires_at". A malformed line does not stop the
    others. The exit status is 1 if a line was refused or, with --wait, a job did not succeed.

    The same line is the same job, which is never run or charged twice: after an interruption or the correction of
    refused lines, repeat the command. With another --idempotency-key the same lines are different jobs.

    Args:
        file: The file, or - for standard input.
        customer_id: The customer of jobs whose line names none.
        job_type: The type of jobs whose line names none.
        priority: The priority of jobs whose line names none; by default that of their type.
        idempotency_key: Lines are submitted once under each key; use the date, say, to submit a file every day.
        wait: Wait until all jobs have ended.
        timeout: How many seconds to wait at most.
    """
    from tools.cli.commands.submit.job_lines import Defaults, batches
    from tools.cli.commands.submit.submission import SubmissionReport, send, wait_until_final

    report = SubmissionReport()
    with _opened(file) as lines, _progress() as status:
        source = batches(lines, Defaults(customer_id, job_type, priority or ""), idempotency_key)
        try:
            async with platform() as client:
                await send(client, source, report, lambda: status.update(_line(report)))
                if wait:
                    async with asyncio.timeout(timeout):
                        await wait_until_final(client, report, lambda: status.update(_ended(report)))
        except TimeoutError:
            sys.stderr.write(f"{_ended(report)}: --timeout has passed. The other jobs continue.\n")
        except BaseException:
            # Also after Ctrl-C: submitted jobs stay submitted, so the user needs the report.
            status.stop()
            _print(report, waited=wait, as_json=as_json)
            sys.stderr.write("Not finished. Repeat the command to continue: no line is submitted twice.\n")
            raise
    _print(report, waited=wait, as_json=as_json)
    return 1 if report.refused or (wait and report.ended["SUCCEEDED"] != len(report.jobs)) else 0


@contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    if file == "-":
        # A second file object, left open: when the program ends, a thread may be waiting for the next line, with the
        # lock that closing would wait for.
        yield open(0, "rb", closefd=False)  # noqa: SIM115
        return
    with Path(file).open("rb") as lines:
        yield lines


@contextmanager
def _progress() -> Iterator["Status"]:
    """Show the progress in one changing line, if standard error is a terminal."""
    on = console(sys.stderr)
    on.quiet = not sys.stderr.isatty()
    with on.status("Reading") as status:
        yield status


def _line(report: "SubmissionReport") -> str:
    accepted, replayed, refused = len(report.accepted), len(report.replayed), len(report.refused)
    return f"{accepted} accepted, {replayed} replayed, {refused} refused"


def _ended(report: "SubmissionReport") -> str:
    return f"{report.ended.total()} of {len(report.jobs)} jobs have ended"


def _print(report: "SubmissionReport", *, waited: bool, as_json: bool) -> None:
    refused = sorted(report.refused, key=lambda one: one.line)
    failed = sorted(report.failed, key=lambda one: one.line)
    if as_json:
        found: dict[str, Any] = {
            "accepted": len(report.accepted),
            "replayed": len(report.replayed),
            "refused": dict(report.reasons),
            "job_ids": list(report.jobs.values()),
            "errors": [vars(each) for each in refused],
        }
        if waited:
            found |= {"ended": dict(report.ended), "failed": [vars(each) for each in failed]}
        print_json(found)
        return
    _print_errors([_described(one.line, one.reason, one.message, one.job_id) for one in refused], "were refused")
    _print_errors([_described(one.line, one.status, one.message, one.job_id) for one in failed], "did not succeed")
    counts = {"accepted": str(len(report.accepted)), "replayed": str(len(report.replayed))}
    counts |= {"refused": ", ".join(f"{n} {reason}" for reason, n in report.reasons.most_common()) or "0"}
    counts |= {status.lower(): str(number) for status, number in report.ended.items()}
    print_pairs(counts)
    if report.replayed:
        print("Replayed lines were submitted before and are the same jobs; another --idempotency-key makes new ones.")


def _described(line: int, what: str, why: str, job_id: str) -> str:
    return f"line {line}: {what}: {why}" + (f" (job {job_id})" if job_id else "")


def _print_errors(lines: Sequence[str], what: str) -> None:
    for line in lines[:_ERRORS_SHOWN]:
        sys.stderr.write(f"{printable(line)}\n")
    if more := lines[_ERRORS_SHOWN:]:
        sys.stderr.write(f"... and {len(more)} more lines {what}; --json lists them all\n")
