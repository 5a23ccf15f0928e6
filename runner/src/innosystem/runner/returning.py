"""Hands jobs back that the runner can't finish because it stops, or can't begin with."""

from typing import TYPE_CHECKING, Final

import structlog

from innosystem.client import error_from_status
from innosystem.jobs.v1 import job_service_pb2
from innosystem.runner.completing import duration
from innosystem.runner.in_hand import JobInHand, JobsInHand
from innosystem.runner.reporting import ReportSender, is_transient
from innosystem.runner.service_client import ServiceClient

if TYPE_CHECKING:
    # The type of a stub over an aio channel exists for type checkers only.
    from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceAsyncStub

log = structlog.get_logger()

_REASON_LENGTH_MAX: Final = 200


class ReturnSender(ReportSender):
    """Sends ReturnJobs: others run the jobs at once, and no attempt is used up.

    Args:
        service: The jobs service.
        stub: Its stub.
        in_hand: The jobs in the runner's hands.
    """

    name = "return"

    def __init__(self, *, service: ServiceClient, stub: "JobServiceAsyncStub", in_hand: JobsInHand) -> None:
        super().__init__(in_hand)
        self._service = service
        self._stub = stub
        self.failed = False

    async def send(self, batch: list[JobInHand], *, suspect: bool) -> None:
        """Hand a batch back."""
        request = job_service_pb2.ReturnJobsRequest(
            returns=[
                job_service_pb2.JobReturn(
                    job_id=job.job_id,
                    lease_id=job.lease_id,
                    reason=job.return_reason[:_REASON_LENGTH_MAX],
                    not_served=job.not_served,
                    wait=duration(job.return_wait),
                )
                for job in batch
            ]
        )
        response = await self._service.call(
            self._stub.ReturnJobs, request, for_seconds=self.seconds_left(batch), suspect=suspect
        )
        self.handle_results(batch, response.results, self._handle_result)

    def _handle_result(self, job: JobInHand, result: job_service_pb2.JobReturnResult) -> None:
        if result.HasField("status"):
            log.info("job_returned", job_id=job.job_id, request_id=job.request_id, reason=job.return_reason)
            self.in_hand.remove(job)
            return
        error = error_from_status(result.error)
        if is_transient(error):
            self.retry(job, error)
        else:
            # It was cancelled, or rescued: there is nothing to hand back.
            log.warning("return_refused", job_id=job.job_id, request_id=job.request_id, reason=error.reason)
            self.in_hand.remove(job)

    def drop(self, jobs: list[JobInHand], error: str) -> None:
        """Let go of jobs that could not be handed back: they are rescued when their leases end."""
        self.failed = True
        super().drop(jobs, error)
