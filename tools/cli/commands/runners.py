"""`innosystem runners`."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from tools.cli.connect import platform
from tools.cli.ids import RUNNER, whole_id
from tools.cli.listing import collect
from tools.cli.options import Limit, OrderBy, filter_such_as
from tools.cli.output import NOTHING, TABLE, Column, Columns, Output, age, field, print_list, print_one
from tools.cli.unserved import unserved_jobs

if TYPE_CHECKING:
    from innosystem.jobs.v1.runner_pb2 import Runner

app = App(name="runners", help="List or show runners: who takes jobs from which queues, and which handlers they have.")

ID = Annotated[str, Parameter(name="ID", help="The runner's UUID, or its unique start.")]


def _busy(runner: "Runner", _now: Any) -> str:
    return f"{runner.busy}/{runner.slots}" if runner.slots else NOTHING


COLUMNS = Columns(
    (
        field("id", usual=13, short=True),
        field("state", usual=8),
        field("host", priority=4, cut=8),
        field("queues", priority=1, cut=10),
        field("handlers", priority=5, cut=12),
        Column("busy", _busy, priority=2, usual=5, right=True, fields=("busy", "slots")),
        field("last_seen_at", "seen", priority=3, usual=8),
        field("version", priority=6),
        age("started_at", priority=7),
        field("process_id", wide=True),
        field("language", wide=True),
        field("processes", wide=True),
    )
)


@app.default
@app.command(name="list")
async def list_runners(
    *,
    queue: Annotated[str, Parameter(show_default=False)] = "",
    handler: Annotated[str, Parameter(show_default=False)] = "",
    all: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    filter: Annotated[str, filter_such_as("queues:greetings")] = "",
    order_by: OrderBy = "",
    limit: Limit = 50,
    output: Output = TABLE,
) -> None:
    """List the runners by host: those that work, and those that ended without saying so (LOST).

    A runner is LOST when it was not seen for 30 seconds; it is listed for a day.

    Args:
        queue: Only runners that take jobs from this queue.
        handler: Only runners that have this handler.
        all: Also runners that ended within the last hour. A filter on `state` needs it as well.
    """
    from innosystem.jobs.v1.job_service_pb2 import ListRunnersRequest

    parts = [] if all else ["state != STOPPED"]
    parts += [f"queues:{json.dumps(queue)}"] if queue else []
    parts += [f"handlers:{json.dumps(handler)}"] if handler else []
    parts += [f"({filter})"] if filter else []
    request = ListRunnersRequest(filter=" AND ".join(parts), order_by=order_by)
    async with platform() as client:
        found = await collect(client.jobs.ListRunners, request, "runners", limit)
        lines = await unserved_jobs(client, [queue] if queue else []) if output.for_people else []
    print_list(found, COLUMNS, output, nothing="No runners found.")
    if lines:
        sys.stdout.flush()
        sys.stderr.write("\n".join([*lines, ""]))


@app.command
async def show(runner_id: ID, /, *, output: Output = TABLE) -> None:
    """Show one runner."""
    from innosystem.jobs.v1.job_service_pb2 import GetRunnerRequest

    async with platform() as client:
        request = GetRunnerRequest(runner_id=await whole_id(client, RUNNER, runner_id))
        runner = (await client.jobs.GetRunner(request)).runner
    print_one(runner, COLUMNS, output)
