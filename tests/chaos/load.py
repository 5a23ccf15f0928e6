"""Those who submit jobs, take some of them back, and pay: each call is repeated, the same, until it is answered."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar
from uuid import uuid4

import grpc

from innosystem.client import Innosystem, InnosystemError, error_from, error_from_status
from innosystem.customers.v1.customer_service_pb2 import CreateCustomerRequest
from innosystem.jobs.v1.job_pb2 import (
    JOB_STATUS_CANCELLED,
    JOB_STATUS_FAILED,
    JOB_STATUS_SUCCEEDED,
    JOB_STATUS_UNSPECIFIED,
    JobStatus,
)
from innosystem.jobs.v1.job_service_pb2 import (
    BatchCreateJobsRequest,
    CancelJobRequest,
    GetJobRequest,
    RetryJobRequest,
    WatchJobRequest,
)
from innosystem.jobs.v1.job_type_service_pb2 import CreateJobTypeRequest
from innosystem.wallets.v1.wallet_service_pb2 import CreateWalletRequest, CreditRequest
from tests.chaos.kinds import KINDS
from tests.chaos.oracle import INSUFFICIENT_FUNDS
from tests.chaos.submissions import Generator, Submission, job_type

T = TypeVar("T")

# Customers: two can always pay; one is nearly broke, and pays in what is missing when there was too little; one pays
# nothing in. Those two are refused when they have no money, and nobody else.
RICH_CENTS, LOW_CENTS = 1_000_000, 40
CUSTOMERS = {"ada": RICH_CENTS, "bob": RICH_CENTS, "low": LOW_CENTS, "dry": LOW_CENTS}
TOPPED_UP, DRY = "low", "dry"

_TICK_SECONDS = 0.5
_CALL_SECONDS = 5.0
_WATCH_SECONDS = 30.0
_TOP_UP_SECONDS = 4.0
_PAUSE_SECONDS = 0.2
# How often somebody looks whether a job has ended, or whether there is money now.
_LATER_SECONDS = 1.0
_WITHOUT_SUCCESS = (JOB_STATUS_FAILED, JOB_STATUS_CANCELLED)
# The call may not have arrived, or its answer may not: it is made again. Anything else is an answer.
_UNDECIDED = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)


class Load:
    """A steady stream of jobs.

    Attributes:
        submissions: All that was submitted, by job ID.
        credited_cents: What was paid in, by customer.
        failures: How often calls failed, by what they said.
    """

    def __init__(self, clients: Innosystem, *, seed: int, jobs_per_second: float) -> None:
        """Begins with `running`.

        Args:
            clients: Stubs of the services.
            seed: Where chance comes from.
            jobs_per_second: How many jobs are submitted.
        """
        self._clients = clients
        self._random = random.Random(seed)
        self._per_tick = jobs_per_second * _TICK_SECONDS
        self._tasks: set[asyncio.Task[None]] = set()
        self.customers = {name: str(uuid4()) for name in CUSTOMERS}
        self._generator = Generator(self._random, list(self.customers.values()))
        self.submissions: dict[str, Submission] = {}
        self.credited_cents: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.complaints: list[str] = []
        # What is missing for the jobs of the customer who pays in, by job ID; paid is forgotten.
        self._missing_cents: dict[str, int] = {}

    async def prepare(self) -> None:
        """Makes customers, wallets and job types, before anything goes wrong."""
        for name, customer_id in self.customers.items():
            customer = CreateCustomerRequest(customer_id=customer_id, name=name, email=f"{customer_id}@example.com")
            await self._clients.customers.CreateCustomer(customer)
            await self._clients.wallets.CreateWallet(CreateWalletRequest(customer_id=customer_id))
            await self._credit(customer_id, CUSTOMERS[name])
        for kind in KINDS.values():
            await self._clients.job_types.CreateJobType(CreateJobTypeRequest(job_type=job_type(kind)))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Submits jobs as long as the block runs. What is not answered then is repeated until `finish`."""
        submitting, paying = asyncio.create_task(self._submit()), asyncio.create_task(self._pay_in())
        try:
            yield
        finally:
            for task in (submitting, paying):
                task.cancel()
            await asyncio.gather(submitting, paying, return_exceptions=True)

    async def finish(self) -> None:
        """Waits until all calls are answered, and pays in what is missing for that."""
        while self._tasks:
            await self._top_up()
            await asyncio.wait(self._tasks, timeout=_LATER_SECONDS)

    @property
    def may_be_refused(self) -> frozenset[str]:
        """The customer who may be told that there is no money, and stays with that."""
        return frozenset({self.customers[DRY]})

    def give_up(self) -> None:
        """Stops repeating."""
        for task in self._tasks:
            task.cancel()

    async def _submit(self) -> None:
        due = 0.0
        while True:
            due += self._per_tick
            made = [self._generator.next() for _ in range(int(due))]
            due -= len(made)
            self.submissions.update((one.job_id, one) for one in made)
            # Some one by one, the others together.
            alone = self._random.randrange(len(made) + 1)
            for one in made[:alone]:
                self._spawn(self._create(one))
            if made[alone:]:
                self._spawn(self._create_batch(made[alone:]))
            await asyncio.sleep(_TICK_SECONDS)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Future[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.complaints.append(f"the load broke: {error!r}")

    async def _create(self, submission: Submission) -> None:
        while True:
            submission.tries += 1
            try:
                answer = await self._clients.jobs.CreateJob(submission.request, timeout=_CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                if self._refused(submission, _read(error)):
                    return
                await self._pause(submission)
            else:
                self._accepted(submission, replayed=answer.replayed)
                return

    async def _create_batch(self, submissions: Sequence[Submission]) -> None:
        left = list(submissions)
        while left:
            for submission in left:
                submission.tries += 1
            request = BatchCreateJobsRequest(requests=[submission.request for submission in left])
            try:
                answer = await self._clients.jobs.BatchCreateJobs(request, timeout=_CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                failure = _read(error)
                left = [submission for submission in left if not self._refused(submission, failure)]
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            again: list[Submission] = []
            for submission, result in zip(left, answer.results, strict=True):
                if result.HasField("response"):
                    self._accepted(submission, replayed=result.response.replayed)
                elif not self._refused(submission, error_from_status(result.error)):
                    again.append(submission)
            if again:
                await self._pause(*again)
            left = again

    def _refused(self, submission: Submission, failure: InnosystemError) -> bool:
        """Whether this is the last word. Who pays in what is missing comes again."""
        if not self._is_answer(failure) or self._comes_again(submission, failure):
            return False
        submission.refused = str(failure)
        return True

    def _comes_again(self, submission: Submission, failure: InnosystemError) -> bool:
        if failure.reason != INSUFFICIENT_FUNDS:
            return False
        submission.short += 1
        if submission.customer_id != self.customers[TOPPED_UP]:
            return False
        self._missing_cents[submission.job_id] = submission.kind.cost_cents
        return True

    async def _pause(self, *submissions: Submission) -> None:
        """Waits before the next try: for money longer than for a server."""
        short = any(one.job_id in self._missing_cents for one in submissions)
        await asyncio.sleep(_LATER_SECONDS if short else _PAUSE_SECONDS)

    def _accepted(self, submission: Submission, *, replayed: bool) -> None:
        submission.accepted, submission.replayed = True, replayed
        self._missing_cents.pop(submission.job_id, None)
        if submission.run_again and not submission.kind.cancelled:
            self._spawn(self._run_again(submission))
        if submission.cancel_after_seconds is not None:
            self._spawn(self._take_back(submission, submission.cancel_after_seconds))
        if submission.watched:
            self._spawn(self._watch(submission))

    async def _take_back(self, submission: Submission, after_seconds: float) -> None:
        await asyncio.sleep(after_seconds)
        request = CancelJobRequest(job_id=submission.job_id, reason="chaos")
        try:
            await self._until_answered(lambda: self._clients.jobs.CancelJob(request, timeout=_CALL_SECONDS))
            submission.cancellation = "cancelled"
            if submission.run_again:
                await self._run_again(submission)
        except InnosystemError as error:
            if error.reason == "JOB_NOT_CANCELLABLE":
                submission.cancellation = "too late"
            else:
                self.complaints.append(f"{submission.job_id} could not be taken back: {error}")

    async def _run_again(self, submission: Submission) -> None:
        """Has a job run again once it has ended without success."""
        request = GetJobRequest(job_id=submission.job_id)
        while True:
            job = (await self._until_answered(lambda: self._clients.jobs.GetJob(request, timeout=_CALL_SECONDS))).job
            if job.status == JOB_STATUS_SUCCEEDED:
                submission.retried = "too late"
                return
            if job.status in _WITHOUT_SUCCESS and await self._retried(submission):
                return
            await asyncio.sleep(_LATER_SECONDS)

    async def _retried(self, submission: Submission) -> bool:
        """Asks once; answers whether that was the last word."""
        submission.retries += 1
        try:
            await self._clients.jobs.RetryJob(RetryJobRequest(job_id=submission.job_id), timeout=_CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            failure = _read(error)
            # Its hold is still to be released, or an earlier call that was not answered has it run already.
            if not self._is_answer(failure) or failure.reason == "JOB_NOT_RETRYABLE":
                return False
            if self._comes_again(submission, failure):
                return False
            if failure.reason == INSUFFICIENT_FUNDS and submission.customer_id == self.customers[DRY]:
                submission.retried = "short of funds"
            else:
                self.complaints.append(f"{submission.job_id} could not be run again: {failure}")
            return True
        self._missing_cents.pop(submission.job_id, None)
        submission.retried = "again"
        return True

    async def _watch(self, submission: Submission) -> None:
        """Watches a job until the service says that this was the end."""
        request = WatchJobRequest(job_id=submission.job_id)
        while True:
            status = JOB_STATUS_UNSPECIFIED
            try:
                async for told in self._clients.jobs.WatchJob(request, timeout=_WATCH_SECONDS):
                    status = told.job.status
            except grpc.aio.AioRpcError as error:
                if self._is_answer(failure := _read(error)):
                    self.complaints.append(f"{submission.job_id} could not be watched: {failure}")
                    return
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                submission.seen = JobStatus.Name(status).removeprefix("JOB_STATUS_")
                return

    async def _pay_in(self) -> None:
        while True:
            await asyncio.sleep(_TOP_UP_SECONDS)
            await self._top_up()

    async def _top_up(self) -> None:
        """Pays for what is missing just now, so that there is too little again and again."""
        if missing := sum(self._missing_cents.values()):
            self._missing_cents.clear()
            await self._credit(self.customers[TOPPED_UP], missing)

    async def _credit(self, customer_id: str, cents: int) -> None:
        request = CreditRequest(
            customer_id=customer_id, currency="EUR", amount_cents=cents, idempotency_key=str(uuid4())
        )
        self.credited_cents[customer_id] += cents
        credit = asyncio.ensure_future(
            self._until_answered(lambda: self._clients.wallets.Credit(request, timeout=_CALL_SECONDS))
        )
        # Begun is begun: money that may have arrived is not given up on.
        await asyncio.shield(credit)

    async def _until_answered(self, call: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as error:
                if self._is_answer(failure := _read(error)):
                    raise failure from None
                await asyncio.sleep(_PAUSE_SECONDS)

    def _is_answer(self, failure: InnosystemError) -> bool:
        self.failures[failure.reason or failure.code.name] += 1
        return failure.code not in _UNDECIDED


def _read(error: grpc.aio.AioRpcError) -> InnosystemError:
    return error_from(error) or InnosystemError(error.code(), error.details() or "")
