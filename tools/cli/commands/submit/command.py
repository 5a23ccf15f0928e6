"""`innosystem submit`."""

import asyncio
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tools.cli.commands.submit.job_options import NONE, JobOptions
from tools.cli.connect import platform
from tools.cli.ids import CUSTOMER, whole_id
from tools.cli.options import ANY_CASE, PriorityName
from tools.cli.output import TABLE, Output, console, print_document, print_pairs, printable
from tools.cli.times import Duration
from tools.errors import UsageError

if TYPE_CHECKING:
    from rich.status import Status

    from tools.cli.commands.submit.job_lines import Defaults
    from tools.cli.commands.submit.submission import SubmissionReport

_ERRORS_SHOWN = 20


async def submit(
    file: Annotated[str, Parameter(name="FILE", allow_leading_hyphen=True, show_default=False)] = "",
    /,
    *,
    job_type: Annotated[str, Parameter(show_default=False)] = "",
    customer_id: Annotated[str, Parameter(show_default=False)] = "",
    priority: Annotated[PriorityName | None, ANY_CASE] = None,
    options: JobOptions = NONE,
    idempotency_key: Annotated[str, Parameter(show_default=False)] = "",
    wait: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    timeout: Duration = None,
    dry_run: Annotated[bool, Parameter(name="--dry-run", negative="", show_default=False)] = False,
    output: Output = TABLE,
) -> int:
    """Submit one job by options, or many from a JSON Lines file or standard input.

    innosystem submit --job-type greet --customer-id ID --input '{"name": "Ada"}' --wait

    Each line of a file is one job: {"job_type": "greet", "customer_id": "...", "priority": "HIGH", "input": ...}.
    It may have a "job_id", "labels", "max_cost_cents", "run_at" and "expires_at". A malformed line does not stop the
    others. The exit status is 1 if a line was refused or, with --wait, a job did not succeed.

    What says the same is the same job, which is never run or charged twice: after an interruption or the correction of
    refused lines, repeat the command. All but the form counts: type, payer, priority, input, labels, maximum price and
    times. The second of two equal lines in a file is a job of its own. With another --idempotency-key they are
    different jobs; surest is an ID of your own, by --job-id or "job_id".

    Args:
        file: The file, or - for standard input.
        job_type: The name of the job's type; for a file, of jobs whose line names none.
        customer_id: The customer who pays: the email address, or UUID or its unique start; for a file, of jobs whose
            line names none. A line has whole UUIDs, so that it means the same whenever it is submitted.
        priority: The priority; by default that of the type. For a file, of jobs whose line names none.
        idempotency_key: Jobs are submitted once under each key; use the date, say, to submit a file every day.
        wait: Wait until all jobs have ended; print the output and the charge of one job.
        timeout: How long to wait at most: 30s or 5m, for example.
        dry_run: Show what the jobs would cost and what would be left, or why they would be refused; submit nothing.
            Each job is judged as if it were the only one.
    """
    from tools.cli.commands.submit.job_lines import Defaults

    if dry_run and wait:
        raise UsageError("--dry-run submits nothing to --wait for")
    if timeout is not None and not wait:
        raise UsageError("--timeout limits --wait: give both")
    named = Defaults(customer_id, job_type, priority or "")
    if file:
        if options != NONE:
            raise UsageError(
                f"a file has all of a job in its line: leave out the options of one job, such as --input{_meant(file)}"
            )
        if dry_run:
            return await _quote_file(file, named, idempotency_key, output=output)
        return await _submit_file(file, named, idempotency_key, wait=wait, timeout=timeout, output=output)
    if not job_type or not customer_id:
        raise UsageError("name a file of jobs (- is standard input), or one job by --job-type and --customer-id")
    from tools.cli.commands.submit.one_job import submit_one

    async with platform() as client:
        if dry_run:
            from tools.cli.commands.submit.quotes import quote_one

            return await quote_one(client, named, options, idempotency_key, output=output)
        return await submit_one(client, named, options, idempotency_key, wait=wait, timeout=timeout, output=output)


async def _submit_file(
    file: str, defaults: "Defaults", idempotency_key: str, *, wait: bool, timeout: timedelta | None, output: Output
) -> int:
    from tools.cli.commands.submit.job_lines import batches
    from tools.cli.commands.submit.submission import SubmissionReport, send, wait_until_final

    if output.format == "csv":
        raise UsageError("-o csv is for lists: use -o json, or -o name for the IDs of the jobs. Nothing was submitted")
    defaults = await _with_whole_id(defaults)
    report = SubmissionReport()
    with _opened(file) as lines, _progress() as status:
        source = batches(lines, defaults, idempotency_key)
        try:
            async with platform() as client:
                await send(client, source, report, lambda: status.update(_line(report)))
                if wait:
                    async with asyncio.timeout(timeout.total_seconds() if timeout else None):
                        await wait_until_final(client, report, lambda: status.update(_ended(report)))
        except TimeoutError:
            sys.stderr.write(f"{_ended(report)}: --timeout has passed. The other jobs continue.\n")
        except BaseException:
            # Also after Ctrl-C: submitted jobs stay submitted, so the user needs the report.
            status.stop()
            _print(report, output, waited=wait)
            sys.stderr.write("Not finished. Repeat the command to continue: no line is submitted twice.\n")
            raise
    _print(report, output, waited=wait)
    return 1 if report.refused or (wait and report.ended["SUCCEEDED"] != len(report.jobs)) else 0


async def _quote_file(file: str, defaults: "Defaults", idempotency_key: str, *, output: Output) -> int:
    from tools.cli.commands.submit.job_lines import batches
    from tools.cli.commands.submit.quotes import QuoteReport, quote_lines

    if output.format in ("csv", "name"):
        raise UsageError("--dry-run has no list of jobs: use -o json")
    defaults = await _with_whole_id(defaults)
    report = QuoteReport()
    with _opened(file) as lines, _progress() as status:
        async with platform() as client:
            source = batches(lines, defaults, idempotency_key)
            await quote_lines(client, source, report, lambda: status.update(f"{len(report.quotes)} quoted"))
    refused = sorted(report.refused, key=lambda one: one.line)
    if not print_document(report.document(), output):
        _print_errors([_described(one.line, one.reason, one.message, "") for one in refused], "would be refused")
        print_pairs(report.pairs())
    return 1 if refused else 0


async def _with_whole_id(defaults: "Defaults") -> "Defaults":
    if not defaults.customer_id:
        return defaults
    async with platform() as client:
        return replace(defaults, customer_id=await whole_id(client, CUSTOMER, defaults.customer_id))


def _meant(file: str) -> str:
    """Return what else the name of a file that is not there can mean."""
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*", file) and not Path(file).suffix.startswith(".json"):
        return f". If {file} is the type of the job: --job-type {file}"
    return ""


@contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    if file == "-":
        # A second file object, left open: when the program ends, a thread may be waiting for the next line, with the
        # lock that closing would wait for.
        yield open(0, "rb", closefd=False)  # noqa: SIM115
        return
    try:
        lines = Path(file).open("rb")  # noqa: SIM115
    except FileNotFoundError:
        if not (meant := _meant(file)):
            raise
        raise UsageError(f"there is no file {file}{meant}") from None
    with lines:
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


def _print(report: "SubmissionReport", output: Output, *, waited: bool) -> None:
    refused = sorted(report.refused, key=lambda one: one.line)
    failed = sorted(report.failed, key=lambda one: one.line)
    if not output.for_people and output.format != "name":
        found: dict[str, Any] = {
            "accepted": len(report.accepted),
            "replayed": len(report.replayed),
            "refused": dict(report.reasons),
            "job_ids": list(report.jobs.values()),
            "errors": [vars(each) for each in refused],
        }
        if waited:
            found |= {"ended": dict(report.ended), "failed": [vars(each) for each in failed]}
        print_document(found, output)
        return
    _print_errors([_described(one.line, one.reason, one.message, one.job_id) for one in refused], "were refused")
    _print_errors([_described(one.line, one.status, one.message, one.job_id) for one in failed], "did not succeed")
    if output.format == "name":
        for job_id in report.jobs.values():
            print(job_id)
        return
    counts = {"accepted": str(len(report.accepted)), "replayed": str(len(report.replayed))}
    counts |= {"refused": ", ".join(f"{n} {reason}" for reason, n in report.reasons.most_common()) or "0"}
    counts |= {status.lower(): str(number) for status, number in report.ended.items()}
    print_pairs(counts)
    if report.replayed:
        print("Replayed lines were submitted before and are the same jobs; another --idempotency-key makes new ones.")
    if number := len(report.retryable):
        were, again = ("was", "it") if number == 1 else ("were", "them")
        print(f"{number:,} of them {were} FAILED or CANCELLED: `innosystem jobs retry ID` runs {again} again.")


def _described(line: int, what: str, why: str, job_id: str) -> str:
    return f"line {line}: {what}: {why}" + (f" (job {job_id})" if job_id else "")


def _print_errors(lines: Sequence[str], what: str) -> None:
    for line in lines[:_ERRORS_SHOWN]:
        sys.stderr.write(f"{printable(line)}\n")
    if more := lines[_ERRORS_SHOWN:]:
        sys.stderr.write(f"... and {len(more)} more lines {what}; --json lists them all\n")
