"""`innosystem jobs cancel`, `retry`, `write-off` and `watch`."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from tools.cli.commands.jobs.columns import duration, error_of, job_columns, progress_of
from tools.cli.commands.jobs.selection import (
    CANCEL,
    RETRY,
    JobChange,
    JobSelection,
    find,
    plan_of_named,
    read_named,
    status_of,
)
from tools.cli.confirmation import DryRun, Yes, confirmed
from tools.cli.connect import platform, say_unreachable
from tools.cli.errors import with_commands
from tools.cli.ids import JOB, whole_id, whole_ids
from tools.cli.money import WHOLE
from tools.cli.options import Filter
from tools.cli.output import TABLE, Output, cell, console, print_document, print_list, print_one, printable
from tools.errors import CommandError

if TYPE_CHECKING:
    from innosystem.client import Innosystem
    from innosystem.jobs.v1.job_pb2 import Job
    from innosystem.jobs.v1.job_service_pb2 import BatchCancelJobsResponse, BatchRetryJobsResponse, JobResult

    Changed = BatchCancelJobsResponse | BatchRetryJobsResponse

_BATCH = 1000
# As wide as SCHEDULED and CHARGE_DUE.
_STATUS_WIDTH = 9
_BILLING_WIDTH = 11

Ids = Annotated[str, Parameter(name="ID", help="The jobs' UUIDs, or the starts of them.")]
Everything = Annotated[
    bool,
    Parameter(name="--all", negative="", show_default=False, help="All jobs of all customers that can be changed."),
]
AtMost = Annotated[
    int | None,
    WHOLE,
    Parameter(
        name="--limit",
        validator=validators.Number(gte=1),
        show_default=False,
        help="How many to try at most; by default all that match.",
    ),
]
Send = Callable[["Innosystem", dict[str, Any]], Awaitable["Changed"]]


async def cancel(
    *ids: Ids,
    filter: Filter = "",
    everything: Everything = False,
    reason: Annotated[str, Parameter(show_default=False)] = "",
    limit: AtMost = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = TABLE,
) -> int:
    """Cancel jobs, named by their IDs, by a filter or by --all; exit with 1 if one could not be cancelled.

    Jobs that are not named by their IDs are counted first, and nothing is changed without your confirmation.

    Args:
        reason: The reason, stored with each job.
    """
    from innosystem.jobs.v1.job_service_pb2 import BatchCancelJobsRequest

    async def send(client: "Innosystem", jobs: dict[str, Any]) -> "Changed":
        return await client.jobs.BatchCancelJobs(BatchCancelJobsRequest(**jobs, reason=reason))

    selected = JobSelection(ids, filter, everything=everything, limit=limit)
    return await _change(selected, CANCEL, send, yes=yes, dry_run=dry_run, output=output)


async def retry(
    *ids: Ids,
    filter: Filter = "",
    everything: Everything = False,
    limit: AtMost = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = TABLE,
) -> int:
    """Run FAILED and CANCELLED jobs again, named by IDs, a filter or --all; exit with 1 if one could not be retried.

    Jobs that are not named by their IDs are counted first, and nothing is changed without your confirmation.
    """
    from innosystem.jobs.v1.job_service_pb2 import BatchRetryJobsRequest

    async def send(client: "Innosystem", jobs: dict[str, Any]) -> "Changed":
        return await client.jobs.BatchRetryJobs(BatchRetryJobsRequest(**jobs))

    selected = JobSelection(ids, filter, everything=everything, limit=limit)
    return await _change(selected, RETRY, send, yes=yes, dry_run=dry_run, output=output)


async def write_off(
    job_id: Annotated[str, Parameter(name="ID", help="The job's UUID, or the start of it.")],
    /,
    *,
    reason: Annotated[str, Parameter()],
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = TABLE,
) -> None:
    """Write off the charge of a job whose customer can't pay: the loss is booked as ours, and the job is CHARGED.

    The charge must be DECLINED or CHARGE_BLOCKED. A write-off can't be undone, so nothing is changed without your
    confirmation.

    Args:
        reason: The reason, for the wallet's statement.
    """
    from innosystem.jobs.v1.job_pb2 import BILLING_STATUS_CHARGED, JOB_VIEW_BASIC
    from innosystem.jobs.v1.job_service_pb2 import GetJobRequest, WriteOffJobRequest

    async with platform() as client:
        whole = await whole_id(client, JOB, job_id)
        job = (await client.jobs.GetJob(GetJobRequest(job_id=whole, view=JOB_VIEW_BASIC))).job
        if job.billing_status == BILLING_STATUS_CHARGED:
            # The service returns it unchanged, which looks like a write-off.
            raise CommandError(
                f"nothing was done: job {job.id} was paid or written off before; "
                f"`innosystem wallets statement --job-id {job.id}` shows which"
            )
        if not confirmed(
            [
                f"The charge of job {job.id} is written off: {cell(job, 'cost_cents')} of customer {job.customer_id}, "
                f"now {cell(job, 'billing_status')}.",
                "It is booked as our loss, for good.",
            ],
            yes=yes,
            dry_run=dry_run,
        ):
            return
        response = await client.jobs.WriteOffJob(WriteOffJobRequest(job_id=whole, reason=reason))
        columns = await job_columns(client, [response.job], output)
    if output.for_people:
        print_list([response.job], columns, output, nothing="")
    else:
        print_one(response.job, columns, output)


async def watch(
    job_id: Annotated[str, Parameter(name="ID", help="The job's UUID, or the start of it.")],
    /,
    *,
    output: Output = TABLE,
) -> int:
    """Show a job and each of its changes, a line each, until it is final and settled; exit with 1 if it failed.

    The exit status is that of `innosystem submit --wait`: 0 for SUCCEEDED, 1 for FAILED and CANCELLED.
    """
    from rich.text import Text

    from innosystem.client import watch_job
    from innosystem.jobs.v1.job_pb2 import JOB_STATUS_SUCCEEDED

    lines = output.as_lines()
    async with platform() as client:
        async for job in watch_job(client.jobs, await whole_id(client, JOB, job_id), on_outage=say_unreachable):
            if not print_document(job, lines):
                # One line each: a terminal has the start of a long error, which `jobs show` has whole.
                console().print(Text(printable(_change_of(job))), no_wrap=True, overflow="ellipsis")
                sys.stdout.flush()
    return 0 if job.status == JOB_STATUS_SUCCEEDED else 1


def _change_of(job: "Job") -> str:
    """Return a job after a change in a line: status, billing, attempt, progress, how long it took and its error."""
    parts = [
        f"{cell(job, 'status'):<{_STATUS_WIDTH}}",
        f"{cell(job, 'billing_status'):<{_BILLING_WIDTH}}",
        f"try {job.attempt}/{job.max_attempts}",
        progress_of(job).replace("\n", " "),
        f"took {duration(job)}" if job.HasField("completed_at") and job.HasField("started_at") else "",
        error_of(job).replace("\n", " ") if job.HasField("error") else "",
    ]
    return "  ".join(filter(None, parts))


async def _change(
    selected: JobSelection, change: JobChange, send: Send, *, yes: bool, dry_run: bool, output: Output
) -> int:
    results: list[JobResult] = []
    async with platform() as client:
        if selected.ids:
            # Jobs named one by one need no confirmation.
            ids = await whole_ids(client, JOB, selected.ids)
            before = await read_named(client, ids)
            if dry_run:
                plan, refused = plan_of_named(ids, before, change)
                confirmed([*plan, *refused], yes=True, dry_run=True)
                return 1 if refused else 0
            results = await _change_named(client, ids, send)
            for job in (result.job for result in results if result.HasField("job")):
                if (known := before.get(job.id)) and status_of(known) not in change.statuses:
                    sys.stderr.write(f"Job {job.id} was {status_of(known)} before, and is not changed.\n")
        else:
            found = await find(client, selected, change)
            if not found.jobs:
                sys.stderr.write(f"No jobs that can be {change.done} match.\n")
            elif confirmed(found.plan(change), yes=yes, dry_run=dry_run):
                # No more than in the plan: jobs that were submitted meanwhile come after those.
                results = await _change_found(client, selected, send, selected.limit if found.more else found.jobs)
        if dry_run or (output.for_people and not results):
            return 0
        return await _print(client, results, output)


async def _change_named(client: "Innosystem", ids: Sequence[str], send: Send) -> "list[JobResult]":
    from innosystem.jobs.v1.job_service_pb2 import JobIds

    results: list[JobResult] = []
    for start in range(0, len(ids), _BATCH):
        results += (await send(client, {"ids": JobIds(job_ids=ids[start : start + _BATCH])})).results
    return results


async def _change_found(
    client: "Innosystem", selected: JobSelection, send: Send, limit: int | None
) -> "list[JobResult]":
    from innosystem.jobs.v1.job_service_pb2 import JobFilter

    results: list[JobResult] = []
    wanted = JobFilter(filter=selected.filter, all=selected.everything)
    while limit is None or len(results) < limit:
        wanted.limit = _BATCH if limit is None else min(_BATCH, limit - len(results))
        response = await send(client, {"filter": wanted})
        results += response.results
        wanted.page_token = response.next_page_token
        if not wanted.page_token:
            break
    return results


async def _print(client: "Innosystem", results: Sequence["JobResult"], output: Output) -> int:
    from innosystem.client import error_from_status

    changed = [result.job for result in results if result.HasField("job")]
    refused = [error_from_status(result.error) for result in results if result.HasField("error")]
    errors = [f"{error.reason}: {with_commands(error.message)}" for error in refused]
    columns = await job_columns(client, changed, output)
    if output.format in ("json", "yaml"):
        print_document({"jobs": list(map(columns.document, changed)), "errors": errors}, output)
    else:
        print_list(changed, columns, output, nothing="No jobs were changed.")
        sys.stdout.flush()
        sys.stderr.write("".join(f"{error}\n" for error in errors))
    return 1 if refused else 0
