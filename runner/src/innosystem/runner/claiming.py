"""Claims jobs whose IDs were popped."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog
from google.protobuf.duration_pb2 import Duration

from innosystem.client import new_id
from innosystem.jobs.v1 import job_service_pb2
from innosystem.runner.calls import Refused, Service
from innosystem.runner.crash import crash_point
from innosystem.runner.flight import Flight, FlyingJob
from innosystem.runner.queue import JobQueue
from innosystem.runner.stage import Stage

if TYPE_CHECKING:
    # The type of a stub over an aio channel exists for type checkers only.
    from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceAsyncStub

log = structlog.get_logger()

_CLAIM_SECONDS: Final = 60.0
# From here on what a call costs by itself is little beside what its jobs cost.
_LARGE: Final = 50


class ClaimStage(Stage[FlyingJob]):
    """Makes popped IDs into jobs that run under a lease.

    Args:
        service: The jobs service.
        stub: Its stub.
        runner_id: The UUID of this runner's process.
        lease_seconds: How long the jobs are the runner's.
        flight: The jobs in the runner's hands.
        queue: Where IDs go back to that can't be claimed.
        start: Runs a claimed job.
        stopping: Whether the runner drains: then an absent service is not waited for.
    """

    name = "claim"
    rest = 1.0

    def __init__(
        self,
        *,
        service: Service,
        stub: "JobServiceAsyncStub",
        runner_id: str,
        lease_seconds: float,
        flight: Flight,
        queue: JobQueue,
        start: Callable[[FlyingJob, job_service_pb2.ClaimedJob], None],
        stopping: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._service = service
        self._stub = stub
        self._runner_id = runner_id
        self._lease = Duration()
        self._lease.FromMilliseconds(int(lease_seconds * 1000))
        self._flight = flight
        self._queue = queue
        self._start = start
        self._stopping = stopping

    async def send(self, batch: list[FlyingJob]) -> None:
        """Claim a batch, start what is claimed, put what was deferred into the next batch."""
        if self._stopping():
            # Deferred before: others can run them now.
            await self._give_back(batch)
            return
        asked = self._without_duplicates(batch)
        # One lease ID for all attempts of this call: if a reply is lost, the next is the same.
        lease_id, asked_at = str(new_id()), time.monotonic()
        request = job_service_pb2.ClaimJobsRequest(
            job_ids=asked, runner_id=self._runner_id, lease_id=lease_id, lease=self._lease
        )
        crash_point("runner.before_claim")
        response = await self._service.call(
            self._stub.ClaimJobs, request, for_seconds=_CLAIM_SECONDS, hopeless=self._stopping
        )
        for claimed in response.jobs:
            job = asked.pop(claimed.job.id, None)
            if job is not None:
                job.lease_id, job.leased_at, job.request_id = lease_id, asked_at, claimed.request_id
                self._start(job, claimed)
        for job_id in response.deferred_job_ids:
            job = asked.pop(job_id, None)
            if job is not None:
                self.put(job)
        if asked:
            # Duplicates, jobs cancelled meanwhile, IDs of nobody: there is nothing to run.
            log.debug("not_pending", job_ids=list(asked))
        for job in asked.values():
            self._flight.leave(job)

    def rests_after(self, batch: list[FlyingJob]) -> bool:
        """Tell whether waiting a little would make a larger batch.

        Not after a job that came alone: the system may be idle, and the next one is not to wait. Not after a large
        batch: nothing is saved then. And not if the runner can't take any more.
        """
        return 1 < len(batch) < _LARGE and self._flight.room() > 0

    def _without_duplicates(self, batch: list[FlyingJob]) -> dict[str, FlyingJob]:
        asked: dict[str, FlyingJob] = {}
        for job in batch:
            if job.job_id in asked:
                self._flight.leave(job)
            else:
                asked[job.job_id] = job
        return asked

    async def give_up(self, batch: list[FlyingJob], error: Exception) -> None:
        """Put IDs back, so that they, and this runner, may try again later.

        The ID that the service refuses is dropped: put back, it would come again at once. The
        platform pushes it again when it is due.
        """
        # After a defect in `send` some may run already: those have a lease.
        left = [job for job in batch if not job.lease_id]
        if isinstance(error, Refused):
            log.error("claim_refused", job_ids=[job.job_id for job in left], error=str(error))
            for job in left:
                self._flight.leave(job)
        else:
            await self._give_back(left)

    async def give_back_waiting(self) -> None:
        """Put the IDs back that are not being claimed yet."""
        await self._give_back(self.take_all())

    async def _give_back(self, jobs: list[FlyingJob]) -> None:
        await self._queue.push_back(job.popped for job in jobs)
        for job in jobs:
            self._flight.leave(job)
