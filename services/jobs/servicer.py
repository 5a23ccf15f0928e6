"""JobService over gRPC: parses, calls the use case, converts. Rules and errors live further in."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any
from uuid import UUID

import grpc.aio

from innosystem.jobs.v1 import job_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceServicer
from services.jobs import convert
from services.jobs.control_service import ControlService
from services.jobs.repository import JOBS, Claim, Renewal
from services.jobs.run_service import RunService
from services.jobs.service import PAGE_BYTES_MAX, JobsService
from services.jobs.watching import Watching
from services.jobs.write_off import WriteOffs
from services.kit.query.filter import parse_filter
from services.kit.query.listing import Lists
from services.kit.query.page import PageTokens
from services.kit.rpc.batches import each, merged, one
from services.kit.rpc.validation import ContractValidator

Context = grpc.aio.ServicerContext[Any, Any]

# How many jobs a filter may change in one call.
_FILTERED_MAX = 1000
_DEFAULT_LEASE = timedelta(seconds=60)
_FULL = job_pb2.JobView.JOB_VIEW_FULL
_BASIC = job_pb2.JobView.JOB_VIEW_BASIC


class JobServicer(JobServiceServicer):
    """JobService."""

    def __init__(
        self,
        jobs: JobsService,
        runs: RunService,
        control: ControlService,
        watching: Watching,
        *,
        write_offs: WriteOffs,
        validator: ContractValidator,
        tokens: PageTokens,
    ) -> None:
        self._jobs = jobs
        self._runs = runs
        self._control = control
        self._watching = watching
        self._write_offs = write_offs
        self._validator = validator
        self._lists = Lists(JOBS, tokens)

    async def CreateJob(self, request: pb.CreateJobRequest, context: Context) -> pb.CreateJobResponse:
        [result] = await self._jobs.submit([convert.submission(request)])
        return convert.submitted_message(one(result))

    async def BatchCreateJobs(self, request: pb.BatchCreateJobsRequest, context: Context) -> pb.BatchCreateJobsResponse:
        parsed = each(request.requests, "requests", self._validator, convert.submission)
        results = await merged(parsed, self._jobs.submit)
        return pb.BatchCreateJobsResponse(results=[convert.submission_result(result) for result in results])

    async def GetJob(self, request: pb.GetJobRequest, context: Context) -> pb.GetJobResponse:
        job = await self._jobs.get(UUID(request.job_id), full=request.view != _BASIC)
        return pb.GetJobResponse(job=convert.job_message(job))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:
        full = request.view == _FULL
        query = self._lists.query(
            filter=request.filter,
            order_by=request.order_by,
            page_size=request.page_size,
            page_token=request.page_token,
            parameters={"full": str(full)},
        )
        page = await self._jobs.list_page(query, full=full)
        return pb.ListJobsResponse(
            jobs=[convert.job_message(job) for job in page.items],
            next_page_token=self._lists.next_page_token(query, page),
        )

    async def CancelJob(self, request: pb.CancelJobRequest, context: Context) -> pb.CancelJobResponse:
        [result] = await self._control.cancel([UUID(request.job_id)], request.reason)
        return pb.CancelJobResponse(job=convert.job_message(one(result)))

    async def BatchCancelJobs(self, request: pb.BatchCancelJobsRequest, context: Context) -> pb.BatchCancelJobsResponse:
        if request.WhichOneof("jobs") == "ids":
            results = await self._control.cancel(convert.job_ids(request.ids.job_ids), request.reason)
        else:
            wanted = parse_filter(request.filter.filter, JOBS)
            limit = request.filter.limit or _FILTERED_MAX
            results = await self._control.cancel_matching(wanted, limit, request.reason)
        return pb.BatchCancelJobsResponse(results=[convert.job_result(result) for result in results])

    async def RetryJob(self, request: pb.RetryJobRequest, context: Context) -> pb.RetryJobResponse:
        [result] = await self._control.retry([UUID(request.job_id)])
        return pb.RetryJobResponse(job=convert.job_message(one(result)))

    async def BatchRetryJobs(self, request: pb.BatchRetryJobsRequest, context: Context) -> pb.BatchRetryJobsResponse:
        if request.WhichOneof("jobs") == "ids":
            results = await self._control.retry(convert.job_ids(request.ids.job_ids))
        else:
            wanted = parse_filter(request.filter.filter, JOBS)
            results = await self._control.retry_matching(wanted, request.filter.limit or _FILTERED_MAX)
        return pb.BatchRetryJobsResponse(results=[convert.job_result(result) for result in results])

    async def WriteOffJob(self, request: pb.WriteOffJobRequest, context: Context) -> pb.WriteOffJobResponse:
        job = await self._write_offs.write_off(UUID(request.job_id), request.reason)
        return pb.WriteOffJobResponse(job=convert.job_message(job))

    async def WatchJob(self, request: pb.WatchJobRequest, context: Context) -> AsyncIterator[pb.WatchJobResponse]:
        async with aclosing(self._watching.watch(UUID(request.job_id))) as states:
            async for job in states:
                yield pb.WatchJobResponse(job=convert.job_message(job))

    async def PauseQueue(self, request: pb.PauseQueueRequest, context: Context) -> pb.PauseQueueResponse:
        await self._control.set_queue(request.queue, paused=True)
        return pb.PauseQueueResponse()

    async def ResumeQueue(self, request: pb.ResumeQueueRequest, context: Context) -> pb.ResumeQueueResponse:
        await self._control.set_queue(request.queue, paused=False)
        return pb.ResumeQueueResponse()

    async def GetQueueStats(self, request: pb.GetQueueStatsRequest, context: Context) -> pb.GetQueueStatsResponse:
        stats = await self._jobs.stats(request.queues)
        return pb.GetQueueStatsResponse(queues=[convert.stats_message(one) for one in stats])

    async def ClaimJobs(self, request: pb.ClaimJobsRequest, context: Context) -> pb.ClaimJobsResponse:
        lease = request.lease.ToTimedelta() if request.HasField("lease") else _DEFAULT_LEASE
        claim = Claim(
            job_ids=convert.job_ids(request.job_ids),
            runner_id=UUID(request.runner_id),
            lease_id=UUID(request.lease_id),
            lease=lease,
            bytes_max=PAGE_BYTES_MAX,
        )
        claimed = await self._runs.claim(claim)
        return pb.ClaimJobsResponse(
            jobs=[convert.claimed_message(job) for job in claimed.jobs],
            deferred_job_ids=[str(job_id) for job_id in claimed.deferred],
        )

    async def CompleteJobs(self, request: pb.CompleteJobsRequest, context: Context) -> pb.CompleteJobsResponse:
        parsed = each(request.completions, "completions", self._validator, convert.completion)
        results = await merged(parsed, self._runs.complete)
        return pb.CompleteJobsResponse(results=[convert.completion_result(result) for result in results])

    async def RenewLeases(self, request: pb.RenewLeasesRequest, context: Context) -> pb.RenewLeasesResponse:
        renewal = Renewal(
            lease_ids=convert.job_ids(request.lease_ids),
            job_ids=convert.job_ids(request.job_ids),
            lease=request.lease.ToTimedelta() if request.HasField("lease") else _DEFAULT_LEASE,
        )
        return convert.kept_message(await self._runs.renew(renewal))

    async def ReturnJobs(self, request: pb.ReturnJobsRequest, context: Context) -> pb.ReturnJobsResponse:
        parsed = each(request.returns, "returns", self._validator, convert.job_return)
        results = await merged(parsed, self._runs.give_back)
        return pb.ReturnJobsResponse(results=[convert.return_result(result) for result in results])

    async def SettleJobs(self, request: pb.SettleJobsRequest, context: Context) -> pb.SettleJobsResponse:
        parsed = each(request.settlements, "settlements", self._validator, convert.settlement)
        results = await merged(parsed, self._runs.settle)
        return pb.SettleJobsResponse(results=[convert.settlement_result(result) for result in results])
