"""`innosystem jobs cancel`, `retry`, `write-off` and `watch`."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from tools.cli.commands.jobs.selection import CANCEL, RETRY, JobChange, JobSelection, find
from tools.cli.confirmation import DryRun, Yes, confirmed
from tools.cli.connect import platform
from tools.cli.money import WHOLE
from tools.cli.options import Filter, Json
from tools.cli.output import cell, print_json, print_message, print_messages

if TYPE_CHECKING:
    from innosystem.client import Innosystem
    from innosystem.jobs.v1.job_service_pb2 import BatchCancelJobsResponse, BatchRetryJobsResponse, JobResult

    Changed = BatchCancelJobsResponse | BatchRetryJobsResponse

_BATCH = 1000
_COLUMNS = ("id", "status", "billing_status", "attempt", "queue", "created_at")
_WATCHED = ("status", "billing_status", "attempt", "started_at", "completed_at", "error")

Ids = Annotated[str, Parameter(name="ID", help="UUIDs of jobs.")]
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
    reason: str = "",
    limit: AtMost = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
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
    return await _change(selected, CANCEL, send, yes=yes, dry_run=dry_run, as_json=as_json)


async def retry(
    *ids: Ids,
    filter: Filter = "",
    everything: Everything = False,
    limit: AtMost = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Run FAILED and CANCELLED jobs again, named by IDs, a filter or --all; exit with 1 if one could not be retried.

    Jobs that are not named by their IDs are counted first, and nothing is changed without your confirmation.
    """
    from innosystem.jobs.v1.job_service_pb2 import BatchRetryJobsRequest

    async def send(client: "Innosystem", jobs: dict[str, Any]) -> "Changed":
        return await client.jobs.BatchRetryJobs(BatchRetryJobsRequest(**jobs))

    selected = JobSelection(ids, filter, everything=everything, limit=limit)
    return await _change(selected, RETRY, send, yes=yes, dry_run=dry_run, as_json=as_json)


async def write_off(
    job_id: Annotated[str, Parameter(name="ID")],
    /,
    *,
    reason: Annotated[str, Parameter()],
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Write off the charge of a job whose customer can't pay: the loss is booked as ours, and the job is CHARGED.

    A write-off can't be undone, so nothing is changed without your confirmation.

    Args:
        job_id: The UUID of a job whose charge is DECLINED or CHARGE_BLOCKED.
        reason: The reason, for the wallet's statement.
    """
    from innosystem.jobs.v1.job_pb2 import JOB_VIEW_BASIC
    from innosystem.jobs.v1.job_service_pb2 import GetJobRequest, WriteOffJobRequest

    async with platform() as client:
        job = (await client.jobs.GetJob(GetJobRequest(job_id=job_id, view=JOB_VIEW_BASIC))).job
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
        response = await client.jobs.WriteOffJob(WriteOffJobRequest(job_id=job_id, reason=reason))
    print_message(response.job, as_json=as_json)


async def watch(job_id: Annotated[str, Parameter(name="ID")], /, *, as_json: Json = False) -> None:
    """Show a job and each of its changes, until it is final and settled.

    Args:
        job_id: The job's UUID.
    """
    from innosystem.client import watch_job
    from tools.cli.output import to_json

    async with platform() as client:
        async for job in watch_job(client.jobs, job_id):
            if as_json:
                import json

                print(json.dumps(to_json(job), ensure_ascii=False), flush=True)
            else:
                shown = ((name, cell(job, name)) for name in _WATCHED)
                print("  ".join(f"{name} {value}" for name, value in shown if value != "-"), flush=True)


async def _change(
    selected: JobSelection, change: JobChange, send: Send, *, yes: bool, dry_run: bool, as_json: bool
) -> int:
    results: list[JobResult] = []
    async with platform() as client:
        if selected.ids:
            # Jobs named one by one need no count and no confirmation.
            if not dry_run or confirmed([f"{len(selected.ids):,} jobs are {change.done}."], yes=True, dry_run=True):
                results = await _change_named(client, selected.ids, send)
        else:
            found = await find(client, selected, change)
            if found.jobs and confirmed(found.plan(change), yes=yes, dry_run=dry_run):
                # No more than in the plan: jobs that were submitted meanwhile come after those.
                results = await _change_found(client, selected, send, selected.limit if found.more else found.jobs)
    if dry_run:
        return 0
    return _print(results, as_json=as_json)


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


def _print(results: Sequence["JobResult"], *, as_json: bool) -> int:
    from innosystem.client import error_from_status

    changed = [result.job for result in results if result.HasField("job")]
    refused = [error_from_status(result.error) for result in results if result.HasField("error")]
    if as_json:
        print_json({"jobs": changed, "errors": [f"{error.reason}: {error.message}" for error in refused]})
    else:
        print_messages(changed, _COLUMNS, as_json=False, nothing="No jobs were changed.")
        for error in refused:
            print(f"{error.reason}: {error.message}")
    return 1 if refused else 0
