"""Claims jobs whose IDs were popped."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import structlog
from google.protobuf.duration_pb2 import Duration

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
# After an answer in which no job had room, or none.
_DEFERRED_SECONDS: Final = 0.5
# From here on what a call costs by itself is little beside what its jobs cost.
_LARGE: Final = 50


class ClaimSender(BatchSender[JobInHand]):
    """Makes popped IDs into jobs that run under a lease.

    Args:
        service: The jobs service.
        stub: Its stub.
        runner_id: The UUID of this runner's process.
        lease_seconds: How long the jobs are the runner's.
        handlers: The handlers that the runner has: it is given no other jobs.
        queues: The queues that it takes jobs from.
        in_hand: The jobs in the runner's hands.
        queue: Where IDs go back to that can't be claimed.
        start: Runs a claimed job.
        stopping: Whether the runner drains: then an absent service is not waited for.
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

    async def send(self, batch: list[JobInHand], *, suspect: bool) -> None:
        """Claim a batch, start what is claimed, put what was deferred into the next batch."""
        if self._stopping():
            # Deferred before: others can run them now.
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
            # Duplicates, jobs cancelled meanwhile, IDs of nobody, jobs that this runner has no handler for.
            log.debug("not_claimed", job_ids=list(asked))
        self.abandon(list(asked.values()))

    def _lease_of(self, batch: list[JobInHand]) -> tuple[str, float]:
        """Tell under which lease ID a batch is claimed, and since when.

        It is one for all attempts, also those of a batch that was divided: if a reply was lost, the next is the same.
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
            # A defect of ours: the job is rescued when its lease has ended, and the others run.
            log.exception("run_not_begun", job_id=job.job_id, request_id=job.request_id)
            self._in_hand.remove(job)

    def _defer(self, job: JobInHand, *, some_came: bool) -> None:
        """Claim a job with the next batch, which the last one had no room for."""
        job.requested_lease_id = ""
        if some_came:
            self.put(job)
        else:
            self.put_later(job, _DEFERRED_SECONDS)

    def rests_after(self, batch: list[JobInHand]) -> bool:
        """Tell whether waiting a little would make a larger batch.

        Not after a job that came alone: the system may be idle, and the next one is not to wait. Not after a large
        batch: nothing is saved then. And not if the runner can't take any more.
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

    async def give_up(self, batch: list[JobInHand], error: Exception) -> None:
        """Put IDs back, so that they, and this runner, may try again later.

        The ID that the service refuses is dropped: put back, it would come again at once. The
        platform pushes it again when it is due.
        """
        if isinstance(error, Refused):
            log.error("claim_refused", job_ids=[job.job_id for job in batch], error=str(error))
            self.abandon(batch)
        else:
            await self._give_back(batch)

    async def put_aside(self, item: JobInHand, error: HeldUp) -> None:
        """Claim a job a few times more, alone; then leave its ID to the platform, which pushes it again.

        Put back, it would hold up another runner at once.
        """
        if item.retries < _ALONE_ATTEMPTS:
            item.retries += 1
            self.put_alone_later(item, _DEFERRED_SECONDS)
            return
        log.warning("claim_held_up", job_id=item.job_id, error=str(error))
        self._in_hand.remove(item)

    def abandon(self, items: list[JobInHand]) -> None:
        """Let go of IDs that do not run: the platform pushes them again, or rescues what was claimed."""
        for job in items:
            if job.run is None:
                self._in_hand.remove(job)

    async def give_back_waiting(self) -> None:
        """Put the IDs back that are not being claimed yet."""
        await self._give_back(self.take_all())

    async def _give_back(self, jobs: list[JobInHand]) -> None:
        await self._queue.push_back(job.popped for job in jobs)
        for job in jobs:
            self._in_hand.remove(job)
