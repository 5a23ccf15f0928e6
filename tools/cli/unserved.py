"""Which waiting jobs no runner takes, in words, for every command that shows or submits jobs."""

import sys
from collections import Counter
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from innosystem.client import Innosystem
    from innosystem.jobs.v1.job_service_pb2 import QueueStats

# As many as one call may name.
_QUEUES_MAX: Final = 100


def unserved(stats: "Iterable[QueueStats]") -> list[str]:
    """Describe the jobs that wait for a runner, a line for each queue that lacks one or lacks a handler.

    Args:
        stats: The counts of queues, of all their priorities.
    """
    counted = list(stats)
    # Runners of the first release are seen only when they take jobs.
    served = {one.queue for one in counted if one.runners or one.running or not one.HasField("runners")}
    waiting: Counter[str] = Counter()
    lacking: Counter[str] = Counter()
    handlers: dict[str, set[str]] = {}
    for one in counted:
        if one.queue not in served:
            waiting[one.queue] += one.waiting
        elif one.unserved:
            lacking[one.queue] += one.unserved
            handlers.setdefault(one.queue, set()).update(one.unserved_handlers)
    return [
        *(
            f"{_jobs_wait(count)} in {queue}, and no runner takes from it:"
            f" `innosystem run --handlers MODULE --queue {queue}` starts one"
            for queue, count in sorted(waiting.items())
            if count
        ),
        *(
            f"{_jobs_wait(count)} in {queue} for handlers that no runner has: {', '.join(sorted(handlers[queue]))}"
            for queue, count in sorted(lacking.items())
        ),
    ]


async def unserved_jobs(client: "Innosystem", queues: Collection[str] = ()) -> list[str]:
    """Describe the jobs that wait for a runner.

    Args:
        client: The platform.
        queues: The queues, at most 100; by default all.
    """
    from innosystem.jobs.v1.job_service_pb2 import GetQueueStatsRequest

    return unserved((await client.jobs.GetQueueStats(GetQueueStatsRequest(queues=queues))).queues)


async def say_unserved(client: "Innosystem", queues: Collection[str]) -> None:
    """Say on standard error which of the queues have waiting jobs and no runner; nothing if no queue is named."""
    if queues:
        for line in await unserved_jobs(client, sorted(queues)[:_QUEUES_MAX]):
            sys.stderr.write(f"{line}\n")


def _jobs_wait(count: int) -> str:
    return "1 job waits" if count == 1 else f"{count:,} jobs wait"
