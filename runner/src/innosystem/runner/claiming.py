"""Claim jobs whose IDs were popped."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import structlog
from google.protobuf.duration_pb2 import Duration
from typing_extensions import override

from innosystem.client import new_id
from innosystem.jobs.v1 import job_service_pb2
from innosystem.runner.batch_sender import BatchSender
from innosystem.runner.in_hand import JobInHand, JobsInHand
from innosystem.runner.queue import JobQueue
from innosystem.runner.service_client import HeldUp, Refused, ServiceClient
from innosystem.shared.crash import crash_point

if TYPE_CHECKING:
    # The type of a stub over an aio channel exists for type checkers only.
    from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceAsyncStub

log = structlog.get_logger()

_CLAIM_SECONDS: Final = 60.0
_ALONE_ATTEMPTS: Final = 3
# The delay after a response that deferred jobs and contained none.
_DEFERRED_SECONDS: Final = 0.5
# From this size the fixed cost of a call is small beside the cost of its jobs.
_LARGE: Final = 50


class ClaimSender(BatchSender[JobInHand]):
    """The sender of ClaimJobs: popped IDs become jobs that run under a lease.

    Args:
        service: The jobs service.
        stub: Its stub.
        runner_id: The UUID of this runner's process.
        lease_seconds: How long the leases last.
        handlers: The runner's handlers: it receives jobs for these only.
        queues: The queues that the runner takes jobs from.
        in_hand: The jobs in the runner's hands.
        queue: Takes back the IDs that cannot be claimed.
        start: Runs a claimed job.
        stopping: Whether the runner is draining: then it does not wait for an unavailable service.
    """

    name = "claim"
    rest = 1.0

    def __init__(
        self,
        *,
        service: ServiceClient,
        stub: "JobServiceAsyncStub",
        runner_id: str,
        lease_seconds: float,
        handlers: Sequence[str],
        queues: Sequence[str],
        in_hand: JobsInHand,
        queue: JobQueue,
        start: Callable[[JobInHand, job_service_pb2.ClaimedJob], None],
        stopping: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._service = service
        self._stub = stub
        self._runner_id = runner_id
        self._lease = Duration()
        self._lease.FromMilliseconds(int(lease_seconds * 1000))
        self._handlers = handlers
        self._queues = queues
        self._in_hand = in_hand
        self._queue = queue
        self._start = start
        self._stopping = stopping

    @override
    async def send(self, batch: list[JobInHand], *, suspect: bool) -> None:
        """Claim a batch, start the claimed jobs, and put the deferred ones into the next batch."""
        if self._stopping():
            # These were deferred earlier: other runners can run them now.
            await self._give_back(batch)
            return
        asked = self._without_duplicates(batch)
        lease_id, requested_at = self._lease_of(batch)
        request = job_service_pb2.ClaimJobsRequest(
            job_ids=asked,
            runner_id=self._runner_id,
            lease_id=lease_id,
            lease=self._lease,
            handlers=self._handlers,
            queues=self._queues,
        )
        crash_point("runner.before_claim")
        response = await self._service.call(
            self._stub.ClaimJobs, request, for_seconds=_CLAIM_SECONDS, should_give_up=self._stopping, suspect=suspect
        )
        for claimed in response.jobs:
            job = asked.pop(claimed.job.id, None)
            if job is not None:
                job.lease_id, job.leased_at, job.request_id = lease_id, requested_at, claimed.request_id
                self._begin_run(job, claimed)
        for job_id in response.deferred_job_ids:
            job = asked.pop(job_id, None)
            if job is not None:
                self._defer(job, some_came=bool(response.jobs))
        if asked:
            # Duplicates, jobs cancelled meanwhile, unknown IDs, jobs that this runner has no handler for.
            log.debug("not_claimed", job_ids=list(asked))
        self.abandon(list(asked.values()))

    def _lease_of(self, batch: list[JobInHand]) -> tuple[str, float]:
        """Return the lease under which to claim a batch.

        All attempts use the same one, including those of a divided batch: after a lost reply the next attempt claims
        the same jobs.
        """
        requested_lease_id, requested_at = batch[0].requested_lease_id, batch[0].requested_at
        if not requested_lease_id:
            requested_lease_id, requested_at = str(new_id()), time.monotonic()
            for job in batch:
                job.requested_lease_id, job.requested_at = requested_lease_id, requested_at
        return requested_lease_id, requested_at

    def _begin_run(self, job: JobInHand, claimed: job_service_pb2.ClaimedJob) -> None:
        try:
            self._start(job, claimed)
        except Exception:
            # A defect of the runner: the job is rescued when its lease ends, and the others run.
            log.exception("run_not_begun", job_id=job.job_id, request_id=job.request_id)
            self._in_hand.remove(job)

    def _defer(self, job: JobInHand, *, some_came: bool) -> None:
        """Claim a job with a later batch, because the last response had no room for it."""
        job.requested_lease_id = ""
        if some_came:
            self.put(job)
        else:
            self.put_later(job, _DEFERRED_SECONDS)

    @override
    def rests_after(self, batch: list[JobInHand]) -> bool:
        """Return whether a short wait is likely to give a larger batch.

        False after a single job, because the system may be idle and the next job must not wait; after a large batch,
        because nothing would be saved; and while the runner has no room for more jobs.
        """
        return 1 < len(batch) < _LARGE and self._in_hand.room() > 0

    def _without_duplicates(self, batch: list[JobInHand]) -> dict[str, JobInHand]:
        asked: dict[str, JobInHand] = {}
        for job in batch:
            if job.job_id in asked:
                self._in_hand.remove(job)
            else:
                asked[job.job_id] = job
        return asked

    @override
    async def give_up(self, batch: list[JobInHand], error: Exception) -> None:
        """Push IDs back to their lists, for any runner to claim later.

        An ID that the service refuses is dropped: pushed back, it would return immediately. The platform pushes it
        again when it is due.
        """
        if isinstance(error, Refused):
            log.error("claim_refused", job_ids=[job.job_id for job in batch], error=str(error))
            self.abandon(batch)
        else:
            await self._give_back(batch)

    @override
    async def put_aside(self, item: JobInHand, error: HeldUp) -> None:
        """Claim a job alone a few more times; then leave its ID to the platform, which pushes it again.

        Pushed back, the ID would immediately hold up another runner.
        """
        if item.retries < _ALONE_ATTEMPTS:
            item.retries += 1
            self.put_alone_later(item, _DEFERRED_SECONDS)
            return
        log.warning("claim_held_up", job_id=item.job_id, error=str(error))
        self._in_hand.remove(item)

    @override
    def abandon(self, items: list[JobInHand]) -> None:
        """Drop jobs that are not running: the platform pushes their IDs again, or rescues those that were claimed."""
        for job in items:
            if job.run is None:
                self._in_hand.remove(job)

    async def give_back_waiting(self) -> None:
        """Push back the IDs that are still waiting to be claimed."""
        await self._give_back(self.take_all())

    async def _give_back(self, jobs: list[JobInHand]) -> None:
        await self._queue.push_back(job.popped for job in jobs)
        for job in jobs:
            self._in_hand.remove(job)
