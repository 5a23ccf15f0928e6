"""`innosystem jobs`."""

from typing import Annotated

from cyclopts import App, Parameter

from tools.cli.commands.jobs.control import cancel, retry, watch, write_off
from tools.cli.connect import platform
from tools.cli.listing import collect
from tools.cli.options import Filter, Json, Limit, OrderBy
from tools.cli.output import print_message, print_messages

app = App(name="jobs", help="List, show, watch, cancel, retry or write off jobs.")
app.command(cancel)
app.command(retry)
app.command(watch)
app.command(write_off)

_COLUMNS = (
    "id",
    "status",
    "billing_status",
    "priority",
    "estimated_cost_cents",
    "cost_cents",
    "created_at",
)
_FULL_COLUMNS = (*_COLUMNS, "input_json", "output_json", "error")


@app.command(name="list")
async def list_jobs(
    *,
    filter: Filter = "",
    order_by: OrderBy = "",
    limit: Limit = 50,
    full: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    as_json: Json = False,
) -> None:
    """List jobs, the newest first.

    Args:
        full: Print inputs, outputs and errors as well.
    """
    from innosystem.jobs.v1.job_pb2 import JOB_VIEW_BASIC, JOB_VIEW_FULL
    from innosystem.jobs.v1.job_service_pb2 import ListJobsRequest

    request = ListJobsRequest(filter=filter, order_by=order_by, view=JOB_VIEW_FULL if full else JOB_VIEW_BASIC)
    async with platform() as client:
        found = await collect(client.jobs.ListJobs, request, "jobs", limit)
    print_messages(found, _FULL_COLUMNS if full else _COLUMNS, as_json=as_json, nothing="No jobs found.")


@app.command
async def show(job_id: Annotated[str, Parameter(name="ID")], /, *, as_json: Json = False) -> None:
    """Show one job with its input and output.

    Args:
        job_id: The job's UUID.
    """
    from innosystem.jobs.v1.job_service_pb2 import GetJobRequest

    async with platform() as client:
        response = await client.jobs.GetJob(GetJobRequest(job_id=job_id))
    print_message(response.job, as_json=as_json)
