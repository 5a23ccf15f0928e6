"""Clients that submit jobs one by one or in batches, and repeat under the same ID whatever got no response."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc

from innosystem.client import Innosystem, error_from_status
from innosystem.jobs.v1.job_service_pb2 import BatchCreateJobsRequest, CreateJobRequest

# Nothing was decided, or nobody told what: a server was gone, or what it needs was.
_UNDECIDED = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED}
)
_PAUSE_SECONDS = 0.05


@dataclass
class Accepted:
    """What the platform has taken on.

    Attributes:
        job_ids: The jobs.
        repeats: How many submissions had to be repeated.
    """

    job_ids: set[str] = field(default_factory=set)
    repeats: int = 0
    _grown: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def add(self, requests: Sequence[CreateJobRequest]) -> None:
        """Note jobs that were accepted."""
        async with self._grown:
            self.job_ids.update(request.job_id for request in requests)
            self._grown.notify_all()

    async def until(self, count: int) -> None:
        """Wait until so many jobs were accepted."""
        async with self._grown:
            await self._grown.wait_for(lambda: len(self.job_ids) >= count)


async def one_by_one(
    platform: Innosystem, requests: Sequence[CreateJobRequest], accepted: Accepted, *, callers: int
) -> None:
    """Submit jobs by CreateJob, some at the same time."""
    waiting = iter(requests)

    async def caller() -> None:
        for request in waiting:
            while not await _accepted(platform, request):
                accepted.repeats += 1
                await asyncio.sleep(_PAUSE_SECONDS)
            await accepted.add([request])

    async with asyncio.TaskGroup() as tasks:
        for _ in range(callers):
            tasks.create_task(caller())


async def in_batches(
    platform: Innosystem, requests: Sequence[CreateJobRequest], accepted: Accepted, *, size: int
) -> None:
    """Submit jobs by BatchCreateJobs, one batch after the other."""
    for start in range(0, len(requests), size):
        left = requests[start : start + size]
        while left:
            undecided = await _undecided(platform, left)
            known = {request.job_id for request in undecided}
            await accepted.add([request for request in left if request.job_id not in known])
            accepted.repeats += len(undecided)
            left = undecided
            if left:
                await asyncio.sleep(_PAUSE_SECONDS)


async def _accepted(platform: Innosystem, request: CreateJobRequest) -> bool:
    try:
        await platform.jobs.CreateJob(request)
    except grpc.aio.AioRpcError as error:
        if error.code() not in _UNDECIDED:
            raise
        return False
    return True


async def _undecided(platform: Innosystem, requests: Sequence[CreateJobRequest]) -> Sequence[CreateJobRequest]:
    """Submit a batch; return those of which it is not known whether they were accepted."""
    try:
        response = await platform.jobs.BatchCreateJobs(BatchCreateJobsRequest(requests=requests))
    except grpc.aio.AioRpcError as error:
        if error.code() not in _UNDECIDED:
            raise
        return requests
    undecided = []
    for request, result in zip(requests, response.results, strict=True):
        if not result.HasField("error"):
            continue
        refusal = error_from_status(result.error)
        if refusal.code not in _UNDECIDED:
            raise refusal
        undecided.append(request)
    return undecided
