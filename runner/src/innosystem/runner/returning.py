"""Return jobs to the queue that the runner cannot start, or cannot finish because it is stopping."""

from typing import TYPE_CHECKING, Final

import structlog
from typing_extensions import override

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


def return_of(
    job: JobInHand, reason: str, *, wait_seconds: float = 0.0, not_served: bool = False
) -> job_service_pb2.JobReturn:
    """Create the return of a job to the queue.

    Args:
        job: The job.
        reason: Why it is returned.
        wait_seconds: How long the job should stay in the queue before it is taken again.
        not_served: Whether this runner is unable to run the job.
    """
    return job_service_pb2.JobReturn(
        job_id=job.job_id,
        lease_id=job.lease_id,
        reason=reason[:_REASON_LENGTH_MAX],
        not_served=not_served,
        wait=duration(wait_seconds),
    )


class ReturnSender(ReportSender):
    """The sender of ReturnJobs: other runners run the jobs immediately, and no attempt is used up.

    Args:
        service: The jobs service.
        stub: Its stub.
        in_hand: The jobs in the runner's hands.

    Attributes:
        failed: Whether some job could not be returned.
    """

    name = "return"

    def __init__(self, *, service: ServiceClient, stub: "JobServiceAsyncStub", in_hand: JobsInHand) -> None:
        super().__init__(in_hand)
        self._service = service
        self._stub = stub
        self.failed = False

    @override
    async def send(self, batch: list[JobInHand], *, suspect: bool) -> None:
        request = job_service_pb2.ReturnJobsRequest(
            returns=[job.job_return for job in batch if job.job_return is not None]
        )
        response = await self._service.call(
            self._stub.ReturnJobs, request, for_seconds=self.seconds_left(batch), suspect=suspect
        )
        self.handle_results(batch, response.results, self._handle_result)

    def _handle_result(self, job: JobInHand, result: job_service_pb2.JobReturnResult) -> None:
        if result.HasField("status"):
            reason = job.job_return and job.job_return.reason
            log.info("job_returned", job_id=job.job_id, request_id=job.request_id, reason=reason)
            self.in_hand.remove(job)
            return
        error = error_from_status(result.error)
        if is_transient(error):
            self.retry(job, error)
        else:
            # Cancelled or rescued meanwhile: nothing to return.
            log.warning("return_refused", job_id=job.job_id, request_id=job.request_id, reason=error.reason)
            self.in_hand.remove(job)

    @override
    def drop(self, jobs: list[JobInHand], error: str) -> None:
        """Drop jobs that could not be returned: they are rescued when their leases end."""
        self.failed = True
        super().drop(jobs, error)
