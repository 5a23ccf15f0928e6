"""`innosystem jobs`."""

from typing import Annotated

from cyclopts import App, Parameter

from tools.cli.commands.jobs.columns import job_columns
from tools.cli.commands.jobs.control import cancel, retry, watch, write_off
from tools.cli.connect import platform
from tools.cli.ids import JOB, whole_id
from tools.cli.listing import collect
from tools.cli.names import names_of
from tools.cli.options import Filter, Limit, OrderBy
from tools.cli.output import TABLE, Output, print_list, print_one

app = App(name="jobs", help="List, show, watch, cancel, retry or write off jobs.")
app.command(cancel)
app.command(retry)
app.command(watch)
app.command(write_off)

ID = Annotated[str, Parameter(name="ID", help="The job's UUID, or its unique start.")]


@app.command(name="list")
async def list_jobs(
    *,
    filter: Filter = "",
    order_by: OrderBy = "",
    limit: Limit = 50,
    full: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    output: Output = TABLE,
) -> None:
    """List jobs, the newest first.

    Args:
        full: Print inputs and outputs as well.
    """
    from innosystem.jobs.v1.job_pb2 import JOB_VIEW_BASIC, JOB_VIEW_FULL
    from innosystem.jobs.v1.job_service_pb2 import ListJobsRequest

    request = ListJobsRequest(filter=filter, order_by=order_by, view=JOB_VIEW_FULL if full else JOB_VIEW_BASIC)
    async with platform() as client:
        found = await collect(client.jobs.ListJobs, request, "jobs", limit, count=not full)
        columns = job_columns(await names_of(client, found), full=full)
    print_list(found, columns, output, nothing="No jobs found.")


@app.command
async def show(job_id: ID, /, *, output: Output = TABLE) -> None:
    """Show one job with its input and output."""
    from innosystem.jobs.v1.job_service_pb2 import GetJobRequest

    async with platform() as client:
        response = await client.jobs.GetJob(GetJobRequest(job_id=await whole_id(client, JOB, job_id)))
        columns = job_columns(await names_of(client, [response.job]), full=True)
    print_one(response.job, columns, output)
