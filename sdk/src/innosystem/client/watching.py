"""Watch a job to its end, even while servers are replaced."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from time import monotonic
from typing import TYPE_CHECKING, Final

import grpc
from grpc import aio

from innosystem.client.patience import wait_seconds

if TYPE_CHECKING:
    from innosystem.jobs.v1.job_pb2 import Job
    from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceAsyncStub

# The stream was interrupted, but the job has not ended: see `service_config`.
_INTERRUPTED: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
_PAUSE_SECONDS: Final = 0.1
_OUTAGE_SECONDS: Final = 1.0
_PAUSE_SECONDS_MAX: Final = 2.0


async def watch_job(
    jobs: "JobServiceAsyncStub",
    job_id: str,
    *,
    give_up_seconds: float = 60.0,
    on_outage: Callable[[], None] = lambda: None,
) -> "AsyncGenerator[Job, None]":
    """Yield a job's current state and each change, until it is final and settled or needs an operator.

    A server that stops ends its streams. The watch resumes at the next server, and yields no state twice. It waits
    while the caller has used up a limit.

    Args:
        jobs: A stub of JobService.
        job_id: The job's UUID.
        give_up_seconds: How long to look for an available server after each interruption.
        on_outage: Called once per interruption that lasts longer than the replacement of a server, a second.

    Raises:
        grpc.aio.AioRpcError: The job does not exist, or no server was available for that long.
    """
    # Not the etag: progress does not change it.
    seen: Job | None = None
    pause_seconds = _PAUSE_SECONDS
    interrupted_at: float | None = None
    said = False
    while True:
        try:
            async with aclosing(_stream(jobs, job_id)) as states:
                async for job in states:
                    pause_seconds, interrupted_at, said = _PAUSE_SECONDS, None, False
                    if job != seen:
                        seen = job
                        yield job
        except aio.AioRpcError as error:
            interrupted_at = interrupted_at or monotonic()
            told_seconds = wait_seconds(error)
            lasting_seconds = monotonic() - interrupted_at + (told_seconds or 0.0)
            passing = error.code() in _INTERRUPTED or told_seconds is not None
            if not passing or lasting_seconds >= give_up_seconds:
                raise
            if not said and monotonic() - interrupted_at >= _OUTAGE_SECONDS:
                said = True
                on_outage()
        else:
            return
        # The jitter spreads the watchers of a server that has stopped.
        await asyncio.sleep(max(told_seconds or 0.0, pause_seconds * random.uniform(0.5, 1)))  # noqa: S311 - no secret
        pause_seconds = min(2 * pause_seconds, _PAUSE_SECONDS_MAX)


async def _stream(jobs: "JobServiceAsyncStub", job_id: str) -> "AsyncGenerator[Job, None]":
    from innosystem.jobs.v1.job_service_pb2 import WatchJobRequest

    call = jobs.WatchJob(WatchJobRequest(job_id=job_id))
    try:
        async for response in call:
            yield response.job
    finally:
        call.cancel()
