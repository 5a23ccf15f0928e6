"""`innosystem queue`."""

import json
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from tools.cli.connect import platform
from tools.cli.options import Json
from tools.cli.output import print_messages
from tools.cli.unserved import unserved
from tools.errors import CommandError

if TYPE_CHECKING:
    from innosystem.client import Innosystem

_COLUMNS = (
    "queue",
    "priority",
    "waiting",
    "dispatched",
    "running",
    "runners",
    "unserved",
    "oldest_age",
    "submitted_per_second",
    "completed_per_second",
    "paused",
)


app = App(name="queue", help="Show waiting and running jobs; pause or resume queues.")
Name = Annotated[str, Parameter(name="QUEUE")]


@app.default
async def show(*names: str, as_json: Json = False) -> None:
    """Show the waiting and running jobs, per queue and priority.

    Args:
        names: The queues to show; by default all with waiting or running jobs.
    """
    from innosystem.jobs.v1.job_service_pb2 import GetQueueStatsRequest

    async with platform() as client:
        stats = await client.jobs.GetQueueStats(GetQueueStatsRequest(queues=names))
    print_messages(stats.queues, _COLUMNS, as_json=as_json, nothing="No jobs wait or run.")
    if not as_json:
        for line in unserved(stats.queues):
            print(line)


@app.command
async def pause(
    name: Name,
    /,
    *,
    unused: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> None:
    """Withhold the waiting jobs of a queue from the runners. Running jobs continue.

    Args:
        name: The queue.
        unused: Pause the queue even if nothing uses it, which otherwise counts as a misspelt name.
    """
    from innosystem.jobs.v1.job_service_pb2 import PauseQueueRequest

    async with platform() as client:
        if not unused and not await _is_used(client, name):
            raise CommandError(
                f"no job and no job type uses the queue {name!r}: is it misspelt? Nothing was paused; use --unused"
            )
        await client.jobs.PauseQueue(PauseQueueRequest(queue=name))
    print(f"{name} is paused.")


async def _is_used(client: "Innosystem", name: str) -> bool:
    from innosystem.jobs.v1.job_service_pb2 import GetQueueStatsRequest
    from innosystem.jobs.v1.job_type_service_pb2 import ListJobTypesRequest

    of_queue = ListJobTypesRequest(filter=f"queue = {json.dumps(name)}", page_size=1)
    if (await client.job_types.ListJobTypes(of_queue)).job_types:
        return True
    # A job stays in the queue that its type had at its submission.
    stats = await client.jobs.GetQueueStats(GetQueueStatsRequest(queues=[name]))
    return any(one.waiting or one.running for one in stats.queues)


@app.command
async def resume(name: Name, /) -> None:
    """Dispatch the waiting jobs of a queue to runners again.

    Args:
        name: The queue.
    """
    from innosystem.jobs.v1.job_service_pb2 import ResumeQueueRequest

    async with platform() as client:
        await client.jobs.ResumeQueue(ResumeQueueRequest(queue=name))
    print(f"{name} is not paused.")
