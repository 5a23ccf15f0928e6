"""`innosystem jobs`."""

from typing import Annotated

from cyclopts import App, Parameter

from tools.cli.commands.jobs.columns import job_columns
from tools.cli.commands.jobs.control import cancel, retry, watch, write_off
from tools.cli.commands.jobs.show import show
from tools.cli.commands.jobs.webhook import complete_webhook
from tools.cli.connect import platform
from tools.cli.follow import INTERVAL, Interval, Watch, follow_list
from tools.cli.listing import Found, collect
from tools.cli.options import Filter, Limit, OrderBy
from tools.cli.output import TABLE, Columns, Output, print_list
from tools.cli.times import PastTime, created_between

app = App(name="jobs", help="List, show, watch, cancel, retry or write off jobs, or report the result of a webhook.")
app.command(show)
app.command(cancel)
app.command(retry)
app.command(watch)
app.command(write_off)
app.command(complete_webhook)


@app.command(name="list")
async def list_jobs(
    *,
    since: PastTime = None,
    until: PastTime = None,
    filter: Filter = "",
    order_by: OrderBy = "",
    limit: Limit = 50,
    full: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    follow: Watch = False,
    interval: Interval = INTERVAL,
    output: Output = TABLE,
) -> None:
    """List jobs, the newest first.

    Args:
        since: Only jobs submitted from this time on: 2026-01-31T12:00:00Z, 2026-01-31 (in UTC), or how long ago:
            24h, 7d.
        until: Only jobs submitted before this time.
        full: Print inputs and outputs as well.
    """
    from innosystem.jobs.v1.job_pb2 import JOB_VIEW_BASIC, JOB_VIEW_FULL
    from innosystem.jobs.v1.job_service_pb2 import ListJobsRequest

    view = JOB_VIEW_FULL if full else JOB_VIEW_BASIC
    wanted = created_between(filter, since, until)
    nothing = "No jobs found."
    async with platform() as client:

        async def read() -> tuple[Found, Columns]:
            request = ListJobsRequest(filter=wanted, order_by=order_by, view=view)
            found = await collect(client.jobs.ListJobs, request, "jobs", limit, count=not (full or follow))
            return found, await job_columns(client, found, output, full=full)

        if follow:
            await follow_list(read, output, interval=interval, nothing=nothing, version=lambda job: (job.id, job.etag))
        else:
            print_list(*(await read()), output, nothing=nothing)
