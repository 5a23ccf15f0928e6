"""`innosystem jobs cancel`, `retry`, `write-off` and `watch`."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from services.cli.connect import platform
from services.cli.errors import CommandError
from services.cli.money import WHOLE
from services.cli.options import Filter, Json
from services.cli.output import print_json, print_message, print_messages

if TYPE_CHECKING:
    from innosystem.client import Innosystem
    from innosystem.jobs.v1.job_service_pb2 import BatchCancelJobsResponse, BatchRetryJobsResponse, JobResult

    Changed = BatchCancelJobsResponse | BatchRetryJobsResponse

_BATCH = 1000
_COLUMNS = ("id", "status", "billing_status", "attempt", "queue", "created_at")
_WATCHED = ("status", "billing_status", "attempt", "started_at", "completed_at", "error")

Ids = Annotated[str, Parameter(name="ID", help="UUIDs of jobs.")]
All = Annotated[
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


async def cancel(*ids: Ids, filter: Filter = "", reason: str = "", limit: All = None, as_json: Json = False) -> int:
    """Take jobs back, named by their IDs or by a filter; exit with 1 if one could not be.

    Args:
        reason: Kept with each job.
    """
    from innosystem.jobs.v1.job_service_pb2 import BatchCancelJobsRequest

    async def send(client: "Innosystem", jobs: dict[str, Any]) -> "Changed":
        return await client.jobs.BatchCancelJobs(BatchCancelJobsRequest(**jobs, reason=reason))

    return await _change(send, ids, filter, limit, as_json=as_json)


async def retry(*ids: Ids, filter: Filter = "", limit: All = None, as_json: Json = False) -> int:
    """Have FAILED and CANCELLED jobs run again, named by their IDs or by a filter; exit with 1 if one could not be."""
    from innosystem.jobs.v1.job_service_pb2 import BatchRetryJobsRequest

    async def send(client: "Innosystem", jobs: dict[str, Any]) -> "Changed":
        return await client.jobs.BatchRetryJobs(BatchRetryJobsRequest(**jobs))

    return await _change(send, ids, filter, limit, as_json=as_json)


async def write_off(
    job_id: Annotated[str, Parameter(name="ID")], /, *, reason: Annotated[str, Parameter()], as_json: Json = False
) -> None:
    """Give up the charge of a job whose customer can't pay: the loss is booked as ours, and the job is CHARGED.

    Args:
        job_id: The job's UUID. Its charge is DECLINED or CHARGE_BLOCKED.
        reason: Why, for the wallet's statement.
    """
    from innosystem.jobs.v1.job_service_pb2 import WriteOffJobRequest

    async with platform() as client:
        response = await client.jobs.WriteOffJob(WriteOffJobRequest(job_id=job_id, reason=reason))
    print_message(response.job, as_json=as_json)


async def watch(job_id: Annotated[str, Parameter(name="ID")], /, *, as_json: Json = False) -> None:
    """Show a job and each change of it, until it is final and settled.

    Args:
        job_id: The job's UUID.
    """
    from innosystem.jobs.v1.job_service_pb2 import WatchJobRequest
    from services.cli.output import cell, to_json

    async with platform() as client:
        # A stream lasts as long as the job does.
        async for response in client.jobs.WatchJob(WatchJobRequest(job_id=job_id), timeout=None):
            if as_json:
                import json

                print(json.dumps(to_json(response.job), ensure_ascii=False), flush=True)
            else:
                shown = ((name, cell(response.job, name)) for name in _WATCHED)
                print("  ".join(f"{name} {value}" for name, value in shown if value != "-"), flush=True)


async def _change(send: Send, ids: tuple[str, ...], filter: str, limit: int | None, *, as_json: bool) -> int:
    from innosystem.jobs.v1.job_service_pb2 import JobFilter, JobIds

    if bool(ids) == bool(filter):
        raise CommandError("name the jobs by their IDs or by --filter, one of the two")
    results: list[JobResult] = []
    async with platform() as client:
        for start in range(0, len(ids), _BATCH):
            results += (await send(client, {"ids": JobIds(job_ids=ids[start : start + _BATCH])})).results
        wanted = JobFilter(filter=filter)
        while filter and (not limit or len(results) < limit):
            wanted.limit = min(_BATCH, limit - len(results)) if limit else _BATCH
            response = await send(client, {"filter": wanted})
            results += response.results
            if not response.next_page_token:
                break
            wanted.page_token = response.next_page_token
    return _print(results, as_json=as_json)


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
