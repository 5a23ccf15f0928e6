"""Hands jobs back that the runner can't finish because it stops, or can't begin with."""

from typing import TYPE_CHECKING, Final

import structlog

from innosystem.client import error_from_status
from innosystem.jobs.v1 import job_service_pb2
from innosystem.runner.calls import Service
from innosystem.runner.completing import duration
from innosystem.runner.flight import Flight, FlyingJob
from innosystem.runner.reporting import ReportStage, may_pass

if TYPE_CHECKING:
    # The type of a stub over an aio channel exists for type checkers only.
    from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceAsyncStub

log = structlog.get_logger()

_REASON_LENGTH_MAX: Final = 200


class ReturnStage(ReportStage):
    """Sends ReturnJobs: others run the jobs at once, and no attempt is used up.

    Args:
        service: The jobs service.
        stub: Its stub.
        flight: The jobs in the runner's hands.
    """

    name = "return"

    def __init__(self, *, service: Service, stub: "JobServiceAsyncStub", flight: Flight) -> None:
        super().__init__(flight)
        self._service = service
        self._stub = stub
        self.failed = False

    async def send(self, batch: list[FlyingJob], *, suspect: bool) -> None:
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
        self.deal_with(batch, response.results, self._answered)

    def _answered(self, job: FlyingJob, result: job_service_pb2.JobReturnResult) -> None:
        if result.HasField("status"):
            log.info("job_returned", job_id=job.job_id, request_id=job.request_id, reason=job.return_reason)
            self.flight.leave(job)
            return
        error = error_from_status(result.error)
        if may_pass(error):
            self.again(job, error)
        else:
            # It was cancelled, or rescued: there is nothing to hand back.
            log.warning("return_refused", job_id=job.job_id, request_id=job.request_id, reason=error.reason)
            self.flight.leave(job)

    def drop(self, jobs: list[FlyingJob], error: str) -> None:
        """Let go of jobs that could not be handed back: they are rescued when their leases end."""
        self.failed = True
        super().drop(jobs, error)
