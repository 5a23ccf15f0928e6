"""Which waiting jobs no runner takes, in words, for every command that shows or submits jobs."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from innosystem.client import Innosystem
    from innosystem.jobs.v1.job_service_pb2 import QueueStats

# As many as one call may name.
_QUEUES_MAX: Final = 100
# Runners that start or are about to take the jobs need a moment.
_PATIENCE_SECONDS: Final = 1.0
_PATIENCE_SECONDS_MAX: Final = 8.0


def unserved(stats: "Iterable[QueueStats]", needed: Collection[str] | None = None) -> list[str]:
    """Describe the jobs that wait for a runner, a line for each queue that lacks one or lacks a handler.

    Args:
        stats: The counts of queues, of all their priorities.
        needed: The handlers that matter; by default all.
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
            if needed is None
        ),
        *(
            f"Jobs wait in {queue} for handlers that no runner has: {', '.join(sorted(names))}"
            for queue in sorted(lacking)
            if (names := handlers[queue].intersection(needed or ()))
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


@asynccontextmanager
async def saying_unserved(
    client: "Innosystem", queues: Collection[str], job_type_ids: Collection[str]
) -> AsyncIterator[None]:
    """Say on standard error, as soon as it is so, that no runner takes jobs of these queues and types.

    Args:
        client: The platform.
        queues: The queues; without any, nothing is said.
        job_type_ids: The UUIDs of the types.
    """
    looking = asyncio.create_task(_keep_looking(client, sorted(queues)[:_QUEUES_MAX], job_type_ids))
    try:
        yield
    finally:
        looking.cancel()


async def _keep_looking(client: "Innosystem", queues: Collection[str], job_type_ids: Collection[str]) -> None:
    import grpc

    from innosystem.jobs.v1.job_service_pb2 import GetQueueStatsRequest
    from innosystem.jobs.v1.job_type_service_pb2 import GetJobTypeRequest

    handlers: dict[str, str] = {}
    said: set[str] = set()
    patience = _PATIENCE_SECONDS
    while queues:
        await asyncio.sleep(patience)
        patience = min(2 * patience, _PATIENCE_SECONDS_MAX)
        try:
            for one in set(job_type_ids) - handlers.keys():
                job_type = (await client.job_types.GetJobType(GetJobTypeRequest(id=one))).job_type
                handlers[one] = job_type.processing_logic_id
            stats = (await client.jobs.GetQueueStats(GetQueueStatsRequest(queues=queues))).queues
        except grpc.RpcError:
            # The wait for the jobs meets the same failure, and reports it.
            continue
        for line in unserved(stats, handlers.values()):
            # The count of jobs changes, which is no news.
            what = line.partition(" in ")[2]
            if what not in said:
                said.add(what)
                sys.stderr.write(f"{line}\n")


def _jobs_wait(count: int) -> str:
    return "1 job waits" if count == 1 else f"{count:,} jobs wait"
