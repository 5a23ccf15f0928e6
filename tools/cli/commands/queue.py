"""`innosystem queue`."""

import json
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from tools.cli.connect import platform
from tools.cli.follow import INTERVAL, Interval, Watch, follow_list
from tools.cli.listing import Found
from tools.cli.output import (
    NOTHING,
    TABLE,
    TEXT,
    Column,
    Columns,
    DocumentOutput,
    Output,
    field,
    print_document,
    print_list,
)
from tools.cli.unserved import unserved
from tools.errors import CommandError

if TYPE_CHECKING:
    from innosystem.client import Innosystem
    from innosystem.jobs.v1.job_service_pb2 import QueueStats

COLUMNS: Final = Columns(
    (
        field("queue", cut=12),
        field("priority", usual=8),
        field("waiting", right=True),
        field("running", right=True),
        Column("scheduled", lambda one, now: str(one.scheduled or NOTHING), priority=3, right=True),
        Column("unserved", lambda one, now: str(one.unserved or NOTHING), priority=1, right=True),
        Column("paused", lambda one, now: "paused" if one.paused else NOTHING, priority=1),
        field("runners", priority=2, right=True),
        field("oldest_age", "oldest", priority=2, usual=8, right=True),
        field("submitted_per_second", "in/s", priority=3, right=True),
        field("completed_per_second", "out/s", priority=3, right=True),
        field("dispatched", priority=4, right=True),
    ),
    name="queue",
)
_PAUSED_SHOWN: Final = 20


app = App(name="queue", help="Show waiting, scheduled and running jobs; pause or resume queues.")
Name = Annotated[str, Parameter(name="QUEUE")]


@app.default
async def show(*names: str, follow: Watch = False, interval: Interval = INTERVAL, output: Output = TABLE) -> None:
    """Show the waiting, scheduled and running jobs, per queue and priority.

    Scheduled jobs wait for their time, or for their next attempt.

    Args:
        names: The queues to show; by default all with such jobs.
    """
    from innosystem.jobs.v1.job_service_pb2 import GetQueueStatsRequest

    nothing = "No jobs wait, run or are scheduled."
    async with platform() as client:

        async def read() -> tuple[Found, Columns]:
            stats = await client.jobs.GetQueueStats(GetQueueStatsRequest(queues=names))
            found = Found(stats.queues)
            if output.for_people:
                found.note = "\n".join([*(await unserved(client, stats.queues)), *(await _paused_types(client))])
            return found, COLUMNS

        if follow:
            await follow_list(read, output, interval=interval, nothing=nothing, version=_version)
        else:
            print_list(*(await read()), output, nothing=nothing)


def _version(one: "QueueStats") -> tuple[tuple[str, int], tuple[int, int, int, int, int, bool]]:
    # Not the age and the rates, which change all the time.
    return (one.queue, one.priority), (one.waiting, one.running, one.scheduled, one.runners, one.unserved, one.paused)


async def _paused_types(client: "Innosystem") -> list[str]:
    """Describe the paused job types: their jobs wait as well, in queues that are not paused."""
    from innosystem.jobs.v1.job_type_service_pb2 import ListJobTypesRequest

    response = await client.job_types.ListJobTypes(ListJobTypesRequest(filter="paused = true", page_size=_PAUSED_SHOWN))
    if not response.job_types:
        return []
    types = [f"{one.name} (queue {one.queue})" for one in response.job_types]
    more = ", and more" if response.next_page_token else ""
    return [f"Paused job types: {', '.join(types)}{more}. `innosystem job-types resume NAME` ends a pause."]


@app.command
async def pause(
    name: Name,
    /,
    *,
    unused: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    output: DocumentOutput = TEXT,
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
    _print_paused(name, output, paused=True)


@app.command
async def resume(name: Name, /, *, output: DocumentOutput = TEXT) -> None:
    """Dispatch the waiting jobs of a queue to runners again.

    Args:
        name: The queue.
    """
    from innosystem.jobs.v1.job_service_pb2 import ResumeQueueRequest

    async with platform() as client:
        if not await _is_used(client, name):
            raise CommandError(f"no job and no job type uses the queue {name!r}, and it is not paused: is it misspelt?")
        await client.jobs.ResumeQueue(ResumeQueueRequest(queue=name))
    _print_paused(name, output, paused=False)


async def _is_used(client: "Innosystem", name: str) -> bool:
    """Return whether jobs wait, run or are scheduled in a queue, a job type names it, or it is paused."""
    from innosystem.jobs.v1.job_service_pb2 import GetQueueStatsRequest
    from innosystem.jobs.v1.job_type_service_pb2 import ListJobTypesRequest

    of_queue = ListJobTypesRequest(filter=f"queue = {json.dumps(name)}", page_size=1)
    if (await client.job_types.ListJobTypes(of_queue)).job_types:
        return True
    # A job stays in the queue that its type had at its submission.
    stats = await client.jobs.GetQueueStats(GetQueueStatsRequest(queues=[name]))
    return any(one.waiting or one.running or one.scheduled or one.paused for one in stats.queues)


def _print_paused(name: str, output: Output, *, paused: bool) -> None:
    if not print_document({"queue": name, "paused": paused}, output):
        print(f"{name} is {'' if paused else 'not '}paused.")
