"""What becomes of jobs that were accepted: some are taken back, some are run again, some are watched."""

import asyncio
from functools import partial

import grpc

from innosystem.client import Innosystem, InnosystemError
from innosystem.jobs.v1.job_pb2 import (
    JOB_STATUS_CANCELLED,
    JOB_STATUS_FAILED,
    JOB_STATUS_SUCCEEDED,
    JOB_STATUS_UNSPECIFIED,
    JobStatus,
)
from innosystem.jobs.v1.job_service_pb2 import (
    BatchCancelJobsRequest,
    CancelJobRequest,
    GetJobRequest,
    JobFilter,
    RetryJobRequest,
    WatchJobRequest,
)
from tests.chaos.support.calls import CALL_SECONDS, Calls, pause_seconds, read
from tests.chaos.support.money import Money
from tests.chaos.support.oracle import INSUFFICIENT_FUNDS
from tests.chaos.support.submissions import Submission

# How often to check whether a job has ended, or whether money is available now.
LATER_SECONDS = 1.0

_BATCH = 1000
_WATCH_SECONDS = 30.0
_WITHOUT_SUCCESS = (JOB_STATUS_FAILED, JOB_STATUS_CANCELLED)


class Followers:
    """Those who care for jobs after their submission.

    Attributes:
        complaints: Responses that should not have been given.
    """

    def __init__(self, clients: Innosystem, calls: Calls, money: Money) -> None:
        self._clients = clients
        self._calls = calls
        self._money = money
        self.complaints: list[str] = []

    async def take_back(self, submission: Submission, after_seconds: float) -> None:
        """Cancel a job after some time, and has it run again if it is one of those."""
        await asyncio.sleep(after_seconds)
        request = CancelJobRequest(job_id=submission.job_id, reason="chaos")
        try:
            await self._calls.until_returned(lambda: self._clients.jobs.CancelJob(request, timeout=CALL_SECONDS))
            submission.cancellation = "cancelled"
            if submission.run_again:
                await self.run_again(submission)
        except InnosystemError as error:
            if error.reason == "JOB_NOT_CANCELLABLE":
                submission.cancellation = "too late"
            else:
                self.complaints.append(f"{submission.job_id} could not be taken back: {error}")

    async def cancel_all(self, customer_id: str) -> None:
        """Cancel the waiting jobs of a customer, batch by batch, until there are none."""
        waiting = JobFilter(filter=f'customer_id = "{customer_id}" AND status = PENDING', limit=_BATCH)
        while True:
            request = BatchCancelJobsRequest(filter=waiting, reason="chaos")
            response = await self._calls.until_returned(
                partial(self._clients.jobs.BatchCancelJobs, request, timeout=CALL_SECONDS)
            )
            if not response.next_page_token:
                return
            waiting.page_token = response.next_page_token

    async def run_again(self, submission: Submission) -> None:
        """Has a job run again once it has ended without success."""
        request = GetJobRequest(job_id=submission.job_id)
        while True:
            job = (
                await self._calls.until_returned(lambda: self._clients.jobs.GetJob(request, timeout=CALL_SECONDS))
            ).job
            if job.status == JOB_STATUS_SUCCEEDED:
                submission.retried = "too late"
                return
            # Who does not know what came of the call asks for the same again, whatever the job has become meanwhile.
            if submission.retry_count is None and job.status in _WITHOUT_SUCCESS:
                submission.retry_count = job.retry_count
            if job.status in _WITHOUT_SUCCESS and await self._retried(submission):
                return
            await asyncio.sleep(LATER_SECONDS)

    async def _retried(self, submission: Submission) -> bool:
        """Asks once; returns whether that was the last word."""
        submission.retries += 1
        try:
            request = RetryJobRequest(job_id=submission.job_id, retry_count=submission.retry_count)
            await self._clients.jobs.RetryJob(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            failure = read(error)
            # Its hold is still to be released, or an earlier call that got no response has it run already.
            if not self._calls.is_answer(failure) or failure.reason == "JOB_NOT_RETRYABLE":
                return False
            if self._money.comes_again(submission, failure):
                return False
            if failure.reason == INSUFFICIENT_FUNDS and submission.customer_id in self._money.may_be_refused:
                submission.retried = "short of funds"
            else:
                self.complaints.append(f"{submission.job_id} could not be run again: {failure}")
            return True
        self._money.is_there(submission)
        submission.retried = "again"
        return True

    async def watch(self, submission: Submission) -> None:
        """Watches a job until the service says that this was the end."""
        request = WatchJobRequest(job_id=submission.job_id)
        while True:
            status = JOB_STATUS_UNSPECIFIED
            try:
                async for told in self._clients.jobs.WatchJob(request, timeout=_WATCH_SECONDS):
                    status = told.job.status
            except grpc.aio.AioRpcError as error:
                if self._calls.is_answer(failure := read(error)):
                    self.complaints.append(f"{submission.job_id} could not be watched: {failure}")
                    return
                await asyncio.sleep(pause_seconds(failure))
            else:
                submission.seen = JobStatus.Name(status).removeprefix("JOB_STATUS_")
                return
