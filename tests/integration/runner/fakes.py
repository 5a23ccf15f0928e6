"""In-memory fakes of the jobs and the wallets service; the end-to-end tests use the real ones."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc import aio

from innosystem.client import new_id
from innosystem.jobs.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc, job_type_pb2
from innosystem.wallets.v1 import wallet_pb2, wallet_service_pb2, wallet_service_pb2_grpc

PRICE_CENTS = 5


def status(code: "code_pb2.Code", reason: str) -> status_pb2.Status:
    """Create an error as the services do."""
    error = status_pb2.Status(code=code, message=reason.lower())
    error.details.add().Pack(error_details_pb2.ErrorInfo(domain="innosystem", reason=reason))
    return error


@dataclass
class StoredJob:
    """A job of the fake service."""

    job: job_pb2.Job
    handler_id: str
    processor_type: int
    timeout_seconds: float
    request_id: str
    lease_id: str = ""
    renewed_at: list[float] = field(default_factory=list)
    is_cancelled: bool = False
    returned_because: str = ""
    not_served: bool = False
    return_wait: Duration = field(default_factory=Duration)
    isolated: bool | None = None
    reports: list[job_service_pb2.ProgressReport] = field(default_factory=list)
    completion: job_service_pb2.JobCompletion | None = None
    settlement: job_service_pb2.JobSettlement | None = None

    @property
    def checkpoints(self) -> list[str]:
        """The checkpoints, the last one last."""
        return [one.checkpoint_json for one in self.reports if one.checkpoint_json]

    @property
    def progress(self) -> list[tuple[float, str]]:
        """The progress, the last one last."""
        said = [one.progress for one in self.reports if one.HasField("progress")]
        return [(one.percent, one.message) for one in said]

    @property
    def output(self) -> Any:
        """The parsed output, which must exist."""
        assert self.completion is not None
        assert self.completion.HasField("output_json"), self.completion
        return json.loads(self.completion.output_json)

    @property
    def error(self) -> job_pb2.JobError:
        """The error, which must exist."""
        assert self.completion is not None
        assert self.completion.HasField("error"), self.completion
        return self.completion.error

    @property
    def done(self) -> bool:
        """Whether the job needs no more work."""
        if self.completion is None:
            return False
        return not self.completion.HasField("output_json") or self.settlement is not None

    def lose(self) -> None:
        """Give the job to an unknown runner, as after an expired lease."""
        self.lease_id = str(new_id())

    def cancel(self) -> None:
        """Cancel the job."""
        self.is_cancelled = True
        self.lose()


class Outage:
    """A switch that makes a service fail with UNAVAILABLE."""

    def __init__(self) -> None:
        self.on = False
        self.refused_calls = 0

    async def check(self, context: aio.ServicerContext[Any, Any]) -> None:
        if self.on:
            self.refused_calls += 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "down")


class FakeJobs(job_service_pb2_grpc.JobServiceServicer):
    """A service that claims, completes and settles jobs under the conditions of the contract."""

    def __init__(self) -> None:
        self.jobs: dict[str, StoredJob] = {}
        self.outage = Outage()
        self.batches: Counter[str] = Counter()
        self.deferred_after = 1000
        self.claim_replies_to_lose = 0
        self.completion_replies_to_lose = 0
        self.item_errors: list[status_pb2.Status] = []
        # Pushes the IDs of returned jobs again, as the real service does.
        self.push_again: Callable[[str], Awaitable[None]] | None = None
        self.returned: Counter[str] = Counter()
        # Calls that contain one of these wait, as for a locked row.
        self.locked: set[str] = set()
        self.unlocked = asyncio.Event()
        self.completions: Counter[str] = Counter()
        self.claims: list[job_service_pb2.ClaimJobsRequest] = []
        self.announced: list[job_service_pb2.ClaimJobsRequest] = []
        self.renewals: list[job_service_pb2.RenewLeasesRequest] = []
        # While cleared, the responses to announcements, claims, reports, renewals or completions are held back.
        self.announcing = asyncio.Event()
        self.announcing.set()
        self.claiming = asyncio.Event()
        self.claiming.set()
        self.takes_progress = True
        self.reporting = asyncio.Event()
        self.reporting.set()
        self.renewing = asyncio.Event()
        self.completing = asyncio.Event()
        self.renewing.set()
        self.completing.set()

    def add(
        self,
        handler_id: str,
        input: Any = None,
        *,
        processor_type: int = job_type_pb2.PROCESSOR_TYPE_ASYNC,
        timeout_seconds: float = 60.0,
        request_id: str = "",
        customer_id: str = "",
        rescue_count: int = 0,
        isolated: bool | None = None,
        max_attempts: int = 1,
    ) -> StoredJob:
        """Store a PENDING job."""
        job = job_pb2.Job(
            id=str(new_id()),
            customer_id=customer_id or str(new_id()),
            job_type_id=str(new_id()),
            queue="default",
            max_attempts=max_attempts,
            input_json=json.dumps(input),
            rescue_count=rescue_count,
        )
        stored = StoredJob(job, handler_id, processor_type, timeout_seconds, request_id, isolated=isolated)
        self.jobs[job.id] = stored
        return stored

    async def wait_for_locks(self, job_ids: Iterable[str]) -> None:
        """Wait while one of the jobs is locked."""
        if self.locked.intersection(job_ids):
            await self.unlocked.wait()

    async def ClaimJobs(self, request: Any, context: aio.ServicerContext[Any, Any]) -> Any:  # noqa: N802
        if not request.job_ids:
            self.announced.append(request)
            await self.announcing.wait()
            return job_service_pb2.ClaimJobsResponse()
        await self.outage.check(context)
        self.batches["claim"] += 1
        self.claims.append(request)
        await self.wait_for_locks(request.job_ids)
        response = job_service_pb2.ClaimJobsResponse()
        for job_id in request.job_ids:
            stored = self.jobs.get(job_id)
            if stored is None or stored.lease_id not in ("", request.lease_id):
                continue
            if len(response.jobs) == self.deferred_after:
                response.deferred_job_ids.append(job_id)
                continue
            if not stored.lease_id:
                stored.lease_id = request.lease_id
                stored.job.attempt += 1
            claimed = response.jobs.add(
                job=stored.job,
                processing_logic_id=stored.handler_id,
                request_id=stored.request_id,
                isolated=stored.isolated,
                checkpoint_json=next((one for one in stored.checkpoints[::-1]), ""),
            )
            claimed.MergeFromString(bytes([3 << 3, stored.processor_type]))
            claimed.timeout.FromNanoseconds(int(stored.timeout_seconds * 1e9))
        await self.claiming.wait()
        if self.claim_replies_to_lose:
            self.claim_replies_to_lose -= 1
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the reply was lost")
        return response

    async def CompleteJobs(self, request: Any, context: aio.ServicerContext[Any, Any]) -> Any:  # noqa: N802
        await self.outage.check(context)
        self.batches["complete"] += 1
        await self.wait_for_locks(each.job_id for each in request.completions)
        response = job_service_pb2.CompleteJobsResponse()
        for completion in request.completions:
            result = response.results.add()
            stored = self.jobs[completion.job_id]
            self.completions[completion.job_id] += 1
            if self.item_errors:
                result.error.CopyFrom(self.item_errors.pop())
            elif stored.lease_id != completion.lease_id:
                result.error.CopyFrom(status(code_pb2.ABORTED, "LEASE_LOST"))
            elif re.search(r"[0-9]{1001}", completion.output_json):
                result.error.CopyFrom(status(code_pb2.INVALID_ARGUMENT, "INVALID_OUTPUT_JSON"))
            else:
                stored.completion = completion
                result.recorded.status = job_pb2.JOB_STATUS_FAILED
                if completion.HasField("output_json"):
                    result.recorded.status = job_pb2.JOB_STATUS_SUCCEEDED
                    result.recorded.charge.CopyFrom(_charge(stored.job))
                elif completion.HasField("snooze") or (
                    completion.error.retryable and stored.job.attempt < stored.job.max_attempts
                ):
                    result.recorded.status = job_pb2.JOB_STATUS_SCHEDULED
        await self.completing.wait()
        if self.completion_replies_to_lose:
            self.completion_replies_to_lose -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the reply was lost")
        return response

    async def RenewLeases(self, request: Any, context: aio.ServicerContext[Any, Any]) -> Any:  # noqa: N802
        await self.outage.check(context)
        self.batches["renew"] += 1
        await self.wait_for_locks(request.job_ids)
        self.renewals.append(request)
        response = job_service_pb2.RenewLeasesResponse()
        for job_id in request.job_ids:
            stored = self.jobs[job_id]
            if stored.completion is None and stored.lease_id in request.lease_ids:
                stored.renewed_at.append(time.monotonic())
            else:
                response.not_renewed.add(
                    job_id=job_id,
                    reason=job_service_pb2.LEASE_END_CANCELLED
                    if stored.is_cancelled
                    else job_service_pb2.LEASE_END_LOST,
                )
        await self.renewing.wait()
        return response

    async def ReportProgress(self, request: Any, context: aio.ServicerContext[Any, Any]) -> Any:  # noqa: N802
        await self.outage.check(context)
        if not self.takes_progress:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        self.batches["progress"] += 1
        await self.reporting.wait()
        response = job_service_pb2.ReportProgressResponse()
        for report in request.reports:
            result = response.results.add()
            stored = self.jobs[report.job_id]
            if self.item_errors:
                result.error.CopyFrom(self.item_errors.pop())
            elif stored.lease_id != report.lease_id:
                result.error.CopyFrom(status(code_pb2.ABORTED, "LEASE_LOST"))
            else:
                stored.reports.append(report)
        return response

    async def ReturnJobs(self, request: Any, context: aio.ServicerContext[Any, Any]) -> Any:  # noqa: N802
        await self.outage.check(context)
        self.batches["return"] += 1
        response = job_service_pb2.ReturnJobsResponse()
        for each in request.returns:
            stored = self.jobs[each.job_id]
            if stored.lease_id == each.lease_id and stored.completion is None:
                stored.lease_id, stored.returned_because, stored.not_served = "", each.reason, each.not_served
                stored.return_wait = each.wait
                stored.job.attempt -= 1
                self.returned[each.job_id] += 1
                response.results.add(status=job_pb2.JOB_STATUS_PENDING)
                if self.push_again is not None:
                    await self.push_again(each.job_id)
            else:
                response.results.add(error=status(code_pb2.ABORTED, "LEASE_LOST"))
        return response

    async def SettleJobs(self, request: Any, context: aio.ServicerContext[Any, Any]) -> Any:  # noqa: N802
        await self.outage.check(context)
        self.batches["settle"] += 1
        await self.wait_for_locks(each.job_id for each in request.settlements)
        response = job_service_pb2.SettleJobsResponse()
        for settlement in request.settlements:
            self.jobs[settlement.job_id].settlement = settlement
            response.results.add(billing_status=job_pb2.BILLING_STATUS_CHARGED)
        return response


def _charge(job: job_pb2.Job) -> job_service_pb2.Charge:
    return job_service_pb2.Charge(
        customer_id=job.customer_id,
        currency="EUR",
        amount_cents=PRICE_CENTS,
        idempotency_key=f"job:{job.id}",
        job_id=job.id,
    )


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass
class FakeWallets(wallet_service_pb2_grpc.WalletServiceServicer):
    """A ledger that charges once per key. Customers in `poor` have no money."""

    outage: Outage = field(default_factory=Outage)
    poor: set[str] = field(default_factory=set)
    charged: dict[str, str] = field(default_factory=dict)
    replies_to_lose: int = 0
    item_errors: list[status_pb2.Status] = field(default_factory=list)
    batches: int = 0
    # While cleared, calls wait before they do anything.
    responding: asyncio.Event = field(default_factory=_set)

    async def BatchDeduct(self, request: Any, context: aio.ServicerContext[Any, Any]) -> Any:  # noqa: N802
        await self.outage.check(context)
        self.batches += 1
        await self.responding.wait()
        response = wallet_service_pb2.BatchDeductResponse()
        for deduct in request.requests:
            result = response.results.add()
            if self.item_errors:
                result.error.CopyFrom(self.item_errors.pop())
            elif deduct.customer_id in self.poor:
                result.error.CopyFrom(status(code_pb2.FAILED_PRECONDITION, "INSUFFICIENT_FUNDS"))
            else:
                replayed = deduct.idempotency_key in self.charged
                transaction_id = self.charged.setdefault(deduct.idempotency_key, str(new_id()))
                result.response.transaction.CopyFrom(wallet_pb2.Transaction(id=transaction_id))
                result.response.replayed = replayed
        if self.replies_to_lose:
            self.replies_to_lose -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the reply was lost")
        return response
