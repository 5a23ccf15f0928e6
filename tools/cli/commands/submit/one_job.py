"""`innosystem submit` without a file: one job, by options."""

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tools.cli.commands.job_types.names import find_job_type, is_uuid, suggesting
from tools.cli.commands.jobs.selection import RETRY, status_of
from tools.cli.commands.submit.job_lines import Defaults, MalformedLine, parse_line
from tools.cli.commands.submit.job_options import JobOptions
from tools.cli.commands.submit.line_ids import LineIds
from tools.cli.ids import CUSTOMER, whole_id
from tools.cli.interrupts import interruptible
from tools.cli.output import Columns, Output, cell, field, print_document, print_one, printable
from tools.cli.unserved import saying_unserved
from tools.errors import CommandError, UsageError

if TYPE_CHECKING:
    from innosystem.client import Innosystem
    from innosystem.jobs.v1.job_pb2 import Job
    from innosystem.jobs.v1.job_service_pb2 import CreateJobRequest

_COLUMNS = Columns((field("id"), field("status"), field("billing_status"), field("cost_cents"), field("output_json")))


async def submit_one(
    client: "Innosystem",
    named: Defaults,
    options: JobOptions,
    key: str,
    *,
    wait: bool,
    timeout: timedelta | None,
    output: Output,
) -> int:
    """Submit one job, and print its ID, or with `wait` its result.

    Args:
        client: The platform.
        named: Its type, by name or UUID, its customer, by UUID or the start of one, and its priority.
        options: The rest of it.
        key: The idempotency key.
        wait: Whether to wait until it has ended and is settled.
        timeout: How long to wait at most; None for no limit.
        output: The format.

    Returns:
        The exit status: 1 if the job did not succeed, or has not ended in time.
    """
    from innosystem.jobs.v1.job_service_pb2 import GetJobRequest

    request = await job_request(client, named, options, key)
    async with suggesting(client, named.job_type):
        response = await client.jobs.CreateJob(request)
    created = response.job
    if response.replayed:
        status = status_of(created)
        sys.stderr.write("This job was submitted before, and is not run again")
        if status in RETRY.statuses:
            sys.stderr.write(f". It is {status}: `innosystem jobs retry {created.id}` runs it again.\n")
        else:
            sys.stderr.write("; another --idempotency-key makes another job.\n")
    if not wait:
        if output.for_people:
            print(created.id)
        else:
            print_one(created, _COLUMNS, output)
        return 0
    try:
        async with (
            asyncio.timeout(timeout.total_seconds() if timeout else None),
            saying_unserved(client, {created.queue}, {created.job_type_id}),
        ):
            await _until_settled(client, created.id)
    except TimeoutError:
        sys.stderr.write("--timeout has passed. ")
        _print_unfinished(created.id)
        return 1
    except asyncio.CancelledError:
        _print_unfinished(created.id)
        raise
    return _print_result((await client.jobs.GetJob(GetJobRequest(job_id=created.id))).job, output)


def _print_unfinished(job_id: str) -> None:
    sys.stderr.write(f"The job continues; `innosystem jobs watch {job_id}` follows it.\n")


async def job_request(client: "Innosystem", named: Defaults, options: JobOptions, key: str) -> "CreateJobRequest":
    """Return the request that submits one job.

    Raises:
        UsageError: The options are not valid.
        CommandError: The customer or the job type is not found.
    """
    customer_id = await whole_id(client, CUSTOMER, named.customer_id)
    name, max_cost_cents = named.job_type, None
    if options.max_cost is not None or is_uuid(name):
        job_type = await find_job_type(client, name)
        name = job_type.name
        if options.max_cost is not None:
            if options.max_cost.currency != job_type.currency:
                raise CommandError(
                    f"--max-cost is in {options.max_cost.currency}, and {name} is priced in {job_type.currency}"
                )
            max_cost_cents = options.max_cost.cents
    try:
        line = line_of(options, max_cost_cents).encode()
        return parse_line(line, Defaults(customer_id, name, named.priority), LineIds(key))
    except MalformedLine as error:
        raise UsageError(str(error)) from None


def line_of(options: JobOptions, max_cost_cents: int | None) -> str:
    """Return the line of a file that describes the same job. The same options make the same line.

    Raises:
        UsageError: The input is not JSON, or a label has no value.
        OSError: The file with the input can't be read.
    """
    members = {
        "input": _input_json(options),
        "labels": json.dumps(_labels(options.label)) if options.label else "",
        "max_cost_cents": "" if max_cost_cents is None else str(max_cost_cents),
        "run_at": _time(options.run_at),
        "expires_at": _time(options.expires_at),
        "job_id": json.dumps(options.job_id) if options.job_id else "",
    }
    return "{" + ", ".join(f'"{name}": {text}' for name, text in members.items() if text) + "}"


def _input_json(options: JobOptions) -> str:
    if options.input and options.input_file:
        raise UsageError("give the input once: --input or --input-file")
    text, option = options.input, "--input"
    if options.input_file:
        option = "--input-file"
        from_stdin = options.input_file == "-"
        with interruptible():
            text = sys.stdin.read() if from_stdin else Path(options.input_file).read_text(encoding="utf-8")
    elif not text:
        return ""
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        example = """--input '{"name": "Ada"}'"""
        raise UsageError(f"{option} is not JSON ({error}); {example} is, for example") from None
    # A line has no line breaks, and JSON has them only between its tokens.
    return " ".join(text.splitlines()).strip()


async def _until_settled(client: "Innosystem", job_id: str) -> None:
    from innosystem.client import watch_job
    from tools.cli.connect import say_unreachable

    said = 0
    async for job in watch_job(client.jobs, job_id, on_outage=say_unreachable):
        if (line := failed_attempt(job, datetime.now(UTC))) and job.error.attempt != said:
            said = job.error.attempt
            sys.stderr.write(f"{printable(line)}\n")


def failed_attempt(job: "Job", now: datetime) -> str:
    """Describe the last failed attempt of a job that is run again; empty if there is none."""
    from innosystem.jobs.v1.job_pb2 import JOB_STATUS_PENDING, JOB_STATUS_RUNNING, JOB_STATUS_SCHEDULED

    # A job that was retried by an operator keeps its error, and counts its attempts anew.
    if not 0 < job.error.attempt <= job.attempt:
        return ""
    if job.status not in (JOB_STATUS_PENDING, JOB_STATUS_RUNNING, JOB_STATUS_SCHEDULED):
        return ""
    failed = f"attempt {job.error.attempt} of {job.max_attempts} failed: {job.error.type}: {job.error.message}"
    wait = (job.run_at.ToDatetime(UTC) - now).total_seconds() if job.status == JOB_STATUS_SCHEDULED else 0
    seconds = max(round(wait), 0)
    return f"{failed}; again {f'in {seconds} s' if seconds else 'now'}"


def _print_result(job: "Job", output: Output) -> int:
    from innosystem.jobs.v1.job_pb2 import JOB_STATUS_SUCCEEDED

    if output.format in ("csv", "name") or not print_document(job, output):
        pairs = {
            "job": job.id,
            "status": cell(job, "status"),
            "charged": cell(job, "cost_cents") if job.HasField("cost_cents") else "nothing",
            "billing": cell(job, "billing_status"),
            "error": f"{job.error.type}: {job.error.message}" if job.HasField("error") else "-",
            "output": job.output_json or "-",
        }
        print_one(job, _COLUMNS, output, pairs=pairs)
    return 0 if job.status == JOB_STATUS_SUCCEEDED else 1


def _labels(texts: Sequence[str]) -> dict[str, str]:
    """Return labels in the order of their keys, so that the order of the options does not matter."""
    labels: dict[str, str] = {}
    for text in sorted(texts):
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--label {text!r} has no value: --label team=blue, for example")
        if key in labels:
            raise UsageError(f"--label {key} is given twice")
        labels[key] = value
    return labels


def _time(moment: datetime | None) -> str:
    return f'"{moment.astimezone(UTC).isoformat().replace("+00:00", "Z")}"' if moment else ""
