"""Which waiting jobs no runner takes, in words, for every command that shows or submits jobs."""

import asyncio
import sys
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from innosystem.client import Innosystem
    from innosystem.jobs.v1.job_service_pb2 import QueueStats
    from innosystem.jobs.v1.runner_pb2 import Runner

_RUNNERS_MAX: Final = 1000
# As many as one call may name.
_QUEUES_MAX: Final = 100
# Runners that start or are about to take the jobs need a moment.
_PATIENCE_SECONDS: Final = 1.0
_PATIENCE_SECONDS_MAX: Final = 8.0


@dataclass(frozen=True)
class Stuck:
    """Waiting jobs of a queue that no runner will take.

    Attributes:
        queue: The queue.
        jobs: The number of the jobs.
        cause: Why: the queue is paused, no runner takes from it, or none has their handlers.
        handlers: The handlers that no runner has.
    """

    queue: str
    jobs: int
    cause: Literal["paused", "no runner", "no handler"]
    handlers: Sequence[str] = ()


def stuck(stats: "Iterable[QueueStats]", runners: "Collection[Runner] | None") -> list[Stuck]:
    """Return the waiting jobs that no runner will take, at most one cause a queue.

    Args:
        stats: The counts of queues, of all their priorities.
        runners: The runners that the service knows; None if it is of a release that does not know them.
    """
    by_queue: dict[str, list[QueueStats]] = {}
    for one in stats:
        by_queue.setdefault(one.queue, []).append(one)
    found = [_stuck(queue, ones, runners) for queue, ones in sorted(by_queue.items())]
    return [one for one in found if one]


def _stuck(queue: str, ones: "Sequence[QueueStats]", runners: "Collection[Runner] | None") -> Stuck | None:
    waiting, unserved = sum(one.waiting for one in ones), sum(one.unserved for one in ones)
    if waiting and any(one.paused for one in ones):
        return Stuck(queue, waiting, "paused")
    # A runner of the first release is seen only when it takes jobs: where such a one may have the running jobs, it
    # takes the waiting ones as well.
    is_served = (
        runners is None
        or any(one.runners for one in ones)
        or (any(one.running for one in ones) and _may_have_first_release(queue, runners))
    )
    if waiting and not is_served:
        return Stuck(queue, waiting, "no runner")
    if unserved:
        handlers = sorted({each for one in ones for each in one.unserved_handlers})
        return Stuck(queue, unserved, "no handler", handlers)
    return None


def _may_have_first_release(queue: str, runners: "Iterable[Runner]") -> bool:
    """Return whether a runner that says nothing of itself is known for a queue."""
    return any(not one.host for one in runners if not one.queues or queue in one.queues)


async def known_runners(client: "Innosystem") -> "list[Runner] | None":
    """Return the runners that are there or were lost; None if the service is of a release that does not know them."""
    from grpc import StatusCode, aio

    from innosystem.jobs.v1.job_service_pb2 import ListRunnersRequest

    try:
        request = ListRunnersRequest(page_size=_RUNNERS_MAX, filter="state != STOPPED")
        return list((await client.jobs.ListRunners(request)).runners)
    except aio.AioRpcError as error:
        if error.code() == StatusCode.UNIMPLEMENTED:
            return None
        raise


async def unserved(
    client: "Innosystem", stats: "Iterable[QueueStats]", needed: Collection[str] | None = None
) -> list[str]:
    """Describe the jobs that wait for a runner, a line for each queue that lacks one or lacks a handler.

    Args:
        client: The platform; it is asked for its runners if jobs wait.
        stats: The counts of queues, of all their priorities.
        needed: The handlers that matter; by default all.
    """
    counted = list(stats)
    runners = await known_runners(client) if any(one.waiting for one in counted) else None
    return described(stuck(counted, runners), needed)


def described(found: Iterable[Stuck], needed: Collection[str] | None = None) -> list[str]:
    """Return a line for each queue that lacks a runner, then one for each that lacks a handler."""
    found = list(found)
    lacking = [(one, one.handlers) for one in found if one.cause == "no handler"]
    if needed is not None:
        lacking = [(one, matters) for one, names in lacking if (matters := [each for each in names if each in needed])]
    return [
        *(
            f"{_jobs_wait(one.jobs)} in {one.queue}, and no runner takes from it:"
            f" `innosystem run --handlers MODULE --queue {one.queue}` starts one"
            for one in found
            if one.cause == "no runner"
        ),
        *(
            # How many of them need the handlers that matter is not known.
            f"{_jobs_wait(one.jobs) if needed is None else 'Jobs wait'} in {one.queue} for handlers that no runner has:"
            f" {', '.join(names)}"
            for one, names in lacking
        ),
    ]


async def unserved_jobs(client: "Innosystem", queues: Collection[str] = ()) -> list[str]:
    """Describe the jobs that wait for a runner.

    Args:
        client: The platform.
        queues: The queues, at most 100; by default all.
    """
    from innosystem.jobs.v1.job_service_pb2 import GetQueueStatsRequest

    return await unserved(client, (await client.jobs.GetQueueStats(GetQueueStatsRequest(queues=queues))).queues)


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
            lines = await unserved(client, stats, handlers.values())
        except grpc.RpcError:
            # The wait for the jobs meets the same failure, and reports it.
            continue
        for line in lines:
            # The count of jobs changes, which is no news.
            what = line.partition(" in ")[2]
            if what not in said:
                said.add(what)
                sys.stderr.write(f"{line}\n")


def _jobs_wait(count: int) -> str:
    return "1 job waits" if count == 1 else f"{count:,} jobs wait"
