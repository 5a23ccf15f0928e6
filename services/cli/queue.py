"""`innosystem queue`."""

from services.cli.connect import platform
from services.cli.options import Json
from services.cli.output import print_messages

_COLUMNS = (
    "queue",
    "priority",
    "waiting",
    "dispatched",
    "running",
    "oldest_age",
    "submitted_per_second",
    "completed_per_second",
    "paused",
)


async def queue(*names: str, as_json: Json = False) -> None:
    """Show what waits and runs, per queue and priority.

    Args:
        names: The queues to show; by default all in which jobs wait or run.
    """
    from innosystem.jobs.v1.job_service_pb2 import GetQueueStatsRequest

    async with platform() as client:
        stats = await client.jobs.GetQueueStats(GetQueueStatsRequest(queues=names))
    print_messages(stats.queues, _COLUMNS, as_json=as_json, nothing="No jobs wait or run.")
