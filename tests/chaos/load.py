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
from innosystem.jobs.v1.job_pb2 import JOB_STATUS_UNSPECIFIED, JobStatus
from innosystem.jobs.v1.job_service_pb2 import BatchCreateJobsRequest, CancelJobRequest, WatchJobRequest
from innosystem.jobs.v1.job_type_service_pb2 import CreateJobTypeRequest
from innosystem.wallets.v1.wallet_service_pb2 import CreateWalletRequest, CreditRequest
from tests.chaos.kinds import KINDS
from tests.chaos.submissions import Generator, Submission, job_type

T = TypeVar("T")

# Customers: two can always pay, one runs dry and pays in later, one runs dry and stays dry.
RICH_CENTS, LOW_CENTS = 1_000_000, 40
CUSTOMERS = {"ada": RICH_CENTS, "bob": RICH_CENTS, "low": LOW_CENTS, "dry": LOW_CENTS}
TOPPED_UP = "low"

_TICK_SECONDS = 0.5
_CALL_SECONDS = 5.0
_WATCH_SECONDS = 30.0
_TOP_UP_SECONDS = 10.0
_PAUSE_SECONDS = 0.2
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
        """Begins with `run`.

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
        """Pays in what is owed, and waits until all calls are answered."""
        await self._top_up()
        while self._tasks:
            await asyncio.wait(self._tasks)

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
                if self._is_answer(failure := _read(error)):
                    submission.refused = str(failure)
                    return
                await asyncio.sleep(_PAUSE_SECONDS)
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
                if self._is_answer(failure := _read(error)):
                    for submission in left:
                        submission.refused = str(failure)
                    return
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            again: list[Submission] = []
            for submission, result in zip(left, answer.results, strict=True):
                if result.HasField("response"):
                    self._accepted(submission, replayed=result.response.replayed)
                elif self._is_answer(failure := error_from_status(result.error)):
                    submission.refused = str(failure)
                else:
                    again.append(submission)
            left = again

    def _accepted(self, submission: Submission, *, replayed: bool) -> None:
        submission.accepted, submission.replayed = True, replayed
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
        except InnosystemError as error:
            if error.reason == "JOB_NOT_CANCELLABLE":
                submission.cancellation = "too late"
            else:
                self.complaints.append(f"{submission.job_id} could not be taken back: {error}")

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
        """Pays for all that was submitted so far, so that the wallet runs dry again and again."""
        customer_id = self.customers[TOPPED_UP]
        owed = sum(one.kind.cost_cents for one in self.submissions.values() if one.customer_id == customer_id)
        await self._credit(customer_id, max(owed - self.credited_cents[customer_id], 1))

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
