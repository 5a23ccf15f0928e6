"""JobService over gRPC: parse, call the use case, convert. Rules and errors live in inner layers."""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import grpc.aio

from innosystem.jobs.v1 import job_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceServicer
from services.jobs.rpc import convert
from services.jobs.rpc.callback_calls import CallbackCalls, callback_result
from services.jobs.rpc.charge_calls import ChargeCalls
from services.jobs.rpc.runner_convert import announcement, runner_message
from services.jobs.rules.entities import Job
from services.jobs.rules.resources import JOBS, RUNNERS
from services.jobs.rules.runners import RunnerState
from services.jobs.rules.transitions.leasing import Claim, Renewal
from services.jobs.usecases.callbacks import CallbackService
from services.jobs.usecases.control import CANCELLABLE, RETRYABLE, ControlService
from services.jobs.usecases.own_jobs import narrowing
from services.jobs.usecases.progress import ProgressService
from services.jobs.usecases.queries import QueryService
from services.jobs.usecases.run import RunService
from services.jobs.usecases.runners import RunnerService
from services.jobs.usecases.submission.submit import SubmitService
from services.jobs.usecases.watch import Watching
from services.jobs.usecases.write_off import WriteOffs
from services.kit.auth.principal import principal
from services.kit.auth.tenants import Tenants
from services.kit.batching.parts import in_parts, single_result
from services.kit.charges.vouchers import Vouchers
from services.kit.errors import DomainError, InvalidField
from services.kit.query.filter import parse_filter
from services.kit.query.listing import NOT_NARROWED
from services.kit.query.page import ListQuery, PageTokens
from services.kit.query.specification import ALWAYS, Specification
from services.kit.rpc.batches import batch_results, checked, parse_id, result_messages
from services.kit.rpc.for_tenants import for_tenants
from services.kit.rpc.list_rpc import ListRpc
from services.kit.rpc.responses import RESPONSE_BYTES_MAX, fit
from services.kit.rpc.validation import ContractValidator

Context = grpc.aio.ServicerContext[Any, Any]

# How many jobs a filter may change in one call.
_FILTERED_MAX = 1000
_DEFAULT_LEASE = timedelta(seconds=60)
_FULL = job_pb2.JobView.JOB_VIEW_FULL

# A change of jobs by their IDs.
Change = Callable[..., Coroutine[Any, Any, list[Job | DomainError]]]


@dataclass(frozen=True)
class JobUseCases:
    """The use cases behind JobService."""

    submissions: SubmitService
    queries: QueryService
    control: ControlService
    runs: RunService
    progress: ProgressService
    runners: RunnerService
    write_offs: WriteOffs
    watching: Watching
    callbacks: CallbackService


class JobServicer(JobServiceServicer):
    """JobService."""

    def __init__(
        self,
        use_cases: JobUseCases,
        validator: ContractValidator,
        tokens: PageTokens,
        vouchers: Vouchers,
        callback_url: str = "",
    ) -> None:
        self._submissions = use_cases.submissions
        self._queries = use_cases.queries
        self._control = use_cases.control
        self._runs = use_cases.runs
        self._progress = use_cases.progress
        self._runners = use_cases.runners
        self._write_offs = use_cases.write_offs
        self._watching = use_cases.watching
        self._validator = validator
        self._job_lists = ListRpc(JOBS, tokens)
        self._runner_lists = ListRpc(RUNNERS, tokens)
        self._charges = ChargeCalls(vouchers)
        self._results = use_cases.callbacks
        self._callbacks = CallbackCalls(use_cases.callbacks.tokens, callback_url)

    @for_tenants
    async def CreateJob(self, request: pb.CreateJobRequest, context: Context, tenants: Tenants) -> pb.CreateJobResponse:
        [result] = await self._submissions.submit_or_quote(
            [convert.submission(request)], tenants, patient=True, caller=principal.get()
        )
        if isinstance(result, DomainError):
            raise result
        return convert.submitted_message(result)

    @for_tenants
    async def BatchCreateJobs(
        self, request: pb.BatchCreateJobsRequest, context: Context, tenants: Tenants
    ) -> pb.BatchCreateJobsResponse:
        results = await batch_results(
            request.requests,
            "requests",
            parse=checked(self._validator, convert.submission),
            work=partial(self._submissions.submit_or_quote, tenants=tenants, caller=principal.get()),
            message=partial(convert.submission_result, view=request.view),
        )
        return pb.BatchCreateJobsResponse(results=fit(results, convert.narrow_submission_result))

    @for_tenants
    async def GetJob(self, request: pb.GetJobRequest, context: Context, tenants: Tenants) -> pb.GetJobResponse:
        view = request.view or _FULL
        job = await self._queries.get(UUID(request.job_id), tenants, full=view == _FULL)
        return pb.GetJobResponse(job=convert.job_message(job, view))

    @for_tenants
    async def ListJobs(self, request: pb.ListJobsRequest, context: Context, tenants: Tenants) -> pb.ListJobsResponse:
        full = request.view == _FULL
        read, message = (
            partial(self._queries.list_page, full=full),
            partial(convert.job_message, view=request.view),
        )
        jobs, token = await self._job_lists.serve(
            request, narrowing(tenants), read, message, parameters={"full": str(full)}
        )
        return pb.ListJobsResponse(jobs=jobs, next_page_token=token)

    @for_tenants
    async def CancelJob(self, request: pb.CancelJobRequest, context: Context, tenants: Tenants) -> pb.CancelJobResponse:
        [result] = await self._control.cancel([UUID(request.job_id)], request.reason, tenants)
        return pb.CancelJobResponse(job=convert.job_message(single_result(result)))

    @for_tenants
    async def BatchCancelJobs(
        self, request: pb.BatchCancelJobsRequest, context: Context, tenants: Tenants
    ) -> pb.BatchCancelJobsResponse:
        change = partial(self._control.cancel, reason=request.reason, tenants=tenants)
        results, token = await self._changed(request, CANCELLABLE, change, tenants)
        return pb.BatchCancelJobsResponse(results=results, next_page_token=token)

    @for_tenants
    async def RetryJob(self, request: pb.RetryJobRequest, context: Context, tenants: Tenants) -> pb.RetryJobResponse:
        retry_count = request.retry_count if request.HasField("retry_count") else None
        job_ids, caller = [UUID(request.job_id)], principal.get()
        [result] = await self._control.retry(job_ids, tenants, retry_count=retry_count, caller=caller)
        return pb.RetryJobResponse(job=convert.job_message(single_result(result)))

    @for_tenants
    async def BatchRetryJobs(
        self, request: pb.BatchRetryJobsRequest, context: Context, tenants: Tenants
    ) -> pb.BatchRetryJobsResponse:
        change = partial(self._control.retry, tenants=tenants, caller=principal.get())
        results, token = await self._changed(request, RETRYABLE, change, tenants)
        return pb.BatchRetryJobsResponse(results=results, next_page_token=token)

    async def _changed(
        self,
        request: pb.BatchCancelJobsRequest | pb.BatchRetryJobsRequest,
        changeable: Specification,
        change: Change,
        tenants: Tenants,
    ) -> tuple[Sequence[pb.JobResult], str]:
        """Change jobs by IDs or by a filter; return the results and the token of the filter's next page."""
        message, token = partial(convert.job_result, view=request.view), ""
        if request.WhichOneof("jobs") == "ids":
            results = await batch_results(
                request.ids.job_ids, "ids.job_ids", parse=parse_id, work=change, message=message
            )
        else:
            query = await self._queries.by_type_id(
                self._named(request.filter, changeable, request.DESCRIPTOR.name, tenants)
            )
            page = await self._control.matching(query)
            token = self._job_lists.listing.next_page_token(query, page)
            wanted = partial(change, wanted=query.specification)
            results = result_messages(await in_parts([job.id for job in page.items], wanted), message)
        return fit(results, convert.narrow_job_result), token

    def _named(self, jobs: pb.JobFilter, changeable: Specification, call: str, tenants: Tenants) -> ListQuery:
        if (parse_filter(jobs.filter, JOBS) is ALWAYS) != jobs.all:
            problem = "must be empty if all is set" if jobs.all else "must not be blank: set all to mean all jobs"
            raise InvalidField.of("filter.filter", problem)
        return self._job_lists.listing.query(
            filter=jobs.filter,
            order_by="created_at",
            page_size=jobs.limit or _FILTERED_MAX,
            page_token=jobs.page_token,
            scope=changeable,
            narrowing=narrowing(tenants),
            parameters={"call": call},
            within="filter",
        )

    async def WriteOffJob(self, request: pb.WriteOffJobRequest, context: Context) -> pb.WriteOffJobResponse:
        job = await self._write_offs.write_off(UUID(request.job_id), request.reason)
        return pb.WriteOffJobResponse(job=convert.job_message(job))

    @for_tenants
    async def WatchJob(
        self, request: pb.WatchJobRequest, context: Context, tenants: Tenants
    ) -> AsyncIterator[pb.WatchJobResponse]:
        async with aclosing(self._watching.watch(UUID(request.job_id), tenants)) as states:
            async for job in states:
                yield pb.WatchJobResponse(job=convert.job_message(job))

    async def PauseQueue(self, request: pb.PauseQueueRequest, context: Context) -> pb.PauseQueueResponse:
        await self._control.set_queue(request.queue, paused=True)
        return pb.PauseQueueResponse()

    async def ResumeQueue(self, request: pb.ResumeQueueRequest, context: Context) -> pb.ResumeQueueResponse:
        await self._control.set_queue(request.queue, paused=False)
        return pb.ResumeQueueResponse()

    @for_tenants
    async def GetQueueStats(
        self, request: pb.GetQueueStatsRequest, context: Context, tenants: Tenants
    ) -> pb.GetQueueStatsResponse:
        stats = await self._queries.stats(request.queues, tenants)
        return pb.GetQueueStatsResponse(queues=[convert.stats_message(one) for one in stats])

    async def GetRunner(self, request: pb.GetRunnerRequest, context: Context) -> pb.GetRunnerResponse:
        return pb.GetRunnerResponse(runner=runner_message(await self._runners.get(UUID(request.runner_id))))

    async def ListRunners(self, request: pb.ListRunnersRequest, context: Context) -> pb.ListRunnersResponse:
        runners, token = await self._runner_lists.serve(request, NOT_NARROWED, self._runners.list_page, runner_message)
        return pb.ListRunnersResponse(runners=runners, next_page_token=token)

    @for_tenants
    async def ClaimJobs(self, request: pb.ClaimJobsRequest, context: Context, tenants: Tenants) -> pb.ClaimJobsResponse:
        if not (request.job_ids and request.handlers):
            # Without handlers it is a runner of the first release, which never describes itself.
            said = announcement(request, principal.get())
            self._runners.announced(said, tenants)
            if not request.job_ids and said.state is not RunnerState.ACTIVE:
                # It takes no more jobs: those that wait for its handlers wait for another runner.
                return pb.ClaimJobsResponse()
        lease = request.lease.ToTimedelta() if request.HasField("lease") else _DEFAULT_LEASE
        claim = Claim(
            job_ids=convert.job_ids(request.job_ids),
            runner_id=UUID(request.runner_id),
            lease_id=UUID(request.lease_id),
            lease=lease,
            bytes_max=RESPONSE_BYTES_MAX,
            handlers=frozenset(request.handlers),
            queues=frozenset(request.queues),
        )
        claimed = await self._runs.claim(claim, tenants)
        return pb.ClaimJobsResponse(
            jobs=[self._callbacks.claimed_message(job) for job in claimed.jobs],
            deferred_job_ids=[str(job_id) for job_id in claimed.deferred],
        )

    @for_tenants
    async def CompleteJobs(
        self, request: pb.CompleteJobsRequest, context: Context, tenants: Tenants
    ) -> pb.CompleteJobsResponse:
        parse = checked(self._validator, self._callbacks.completion)
        results = await batch_results(
            request.completions,
            "completions",
            parse=parse,
            work=partial(self._runs.complete, tenants=tenants),
            message=self._charges.completion_results(),
        )
        return pb.CompleteJobsResponse(results=fit(results))

    @for_tenants
    async def RenewLeases(
        self, request: pb.RenewLeasesRequest, context: Context, tenants: Tenants
    ) -> pb.RenewLeasesResponse:
        renewal = Renewal(
            lease_ids=convert.job_ids(request.lease_ids),
            job_ids=convert.job_ids(request.job_ids),
            lease=request.lease.ToTimedelta() if request.HasField("lease") else _DEFAULT_LEASE,
        )
        kept = await self._runs.renew(renewal, tenants)
        return convert.kept_message(kept, convert.no_ids(request.job_ids))

    @for_tenants
    async def ReportProgress(
        self, request: pb.ReportProgressRequest, context: Context, tenants: Tenants
    ) -> pb.ReportProgressResponse:
        results = await batch_results(
            request.reports,
            "reports",
            parse=checked(self._validator, convert.progress_report),
            work=partial(self._progress.report, tenants=tenants),
            message=convert.progress_result,
        )
        return pb.ReportProgressResponse(results=fit(results))

    @for_tenants
    async def ReturnJobs(
        self, request: pb.ReturnJobsRequest, context: Context, tenants: Tenants
    ) -> pb.ReturnJobsResponse:
        parse = checked(self._validator, convert.job_return)
        results = await batch_results(
            request.returns,
            "returns",
            parse=parse,
            work=partial(self._runs.give_back, tenants=tenants),
            message=convert.return_result,
        )
        return pb.ReturnJobsResponse(results=fit(results))

    async def CompleteWebhookJob(
        self, request: pb.CompleteWebhookJobRequest, context: Context
    ) -> pb.CompleteWebhookJobResponse:
        callback = self._results.authenticated(UUID(request.job_id), request.callback_token)
        status = await self._results.complete(callback_result(callback, request))
        return pb.CompleteWebhookJobResponse(status=convert.status_message(status))

    @for_tenants
    async def SettleJobs(
        self, request: pb.SettleJobsRequest, context: Context, tenants: Tenants
    ) -> pb.SettleJobsResponse:
        parse = checked(self._validator, self._charges.settlement_parser())
        results = await batch_results(
            request.settlements,
            "settlements",
            parse=parse,
            work=partial(self._runs.settle, tenants=tenants),
            message=convert.settlement_result,
        )
        return pb.SettleJobsResponse(results=fit(results))
