"""Those who submit jobs: each call is repeated, the same, until it gets a response."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager

import grpc

from innosystem.client import Innosystem, InnosystemError, error_from_status
from innosystem.jobs.v1.job_service_pb2 import BatchCreateJobsRequest
from innosystem.jobs.v1.job_type_service_pb2 import CreateJobTypeRequest
from innosystem.wallets.v1.wallet_service_pb2 import CreditRequest
from tests.chaos.support.calls import CALL_SECONDS, Calls, pause_seconds, read
from tests.chaos.support.following import LATER_SECONDS, Followers
from tests.chaos.support.kinds import FLOOD, KINDS, QUICK
from tests.chaos.support.money import Money
from tests.chaos.support.submissions import Generator, Submission, job_type

JOBS_PER_SECOND = 12.0
"""Of all kinds. More are quick ones: how many handlers can sleep concurrently says nothing of the platform."""

_TICK_SECONDS = 0.5
_TOP_UP_SECONDS = 4.0
_FLOOD_BATCH = 500
_FLOOD_TASKS = 2


class Load:
    """A steady stream of jobs.

    Attributes:
        submissions: All that was submitted, by job ID.
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
        mixed = min(jobs_per_second, JOBS_PER_SECOND)
        self._mixed_per_tick, self._quick_per_tick = mixed * _TICK_SECONDS, (jobs_per_second - mixed) * _TICK_SECONDS
        self._tasks: set[asyncio.Future[None]] = set()
        self._calls = Calls()
        self._money = Money(clients, self._calls)
        self._followers = Followers(clients, self._calls, self._money)
        self._generator = Generator(self._random, list(self._money.customers.values()))
        self.submissions: dict[str, Submission] = {}
        self._broken: list[str] = []

    @property
    def complaints(self) -> list[str]:
        """Responses that should not have been given, and what went wrong with the load itself."""
        return [*self._broken, *self._followers.complaints]

    @property
    def failures(self) -> Counter[str]:
        """How often calls failed, by what they said."""
        return self._calls.failures

    @property
    def credited_cents(self) -> Counter[str]:
        """What was paid in, by customer."""
        return self._money.credited_cents

    @property
    def may_be_refused(self) -> frozenset[str]:
        """The customers who may learn that there is no money, and stay with that."""
        return self._money.may_be_refused

    async def prepare(self) -> None:
        """Create customers, wallets and job types, before anything goes wrong."""
        await self._money.prepare()
        for kind in KINDS.values():
            await self._clients.job_types.CreateJobType(CreateJobTypeRequest(job_type=job_type(kind)))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Submit jobs as long as the block runs. What gets no response then is repeated until `finish`."""
        submitting, paying = asyncio.create_task(self._submit()), asyncio.create_task(self._pay_in())
        try:
            yield
        finally:
            for task in (submitting, paying):
                task.cancel()
            await asyncio.gather(submitting, paying, return_exceptions=True)

    def submit(self, kind: str) -> None:
        """Submit one job of a kind."""
        submission = self._generator.next(kind=kind)
        self.submissions[submission.job_id] = submission
        self._spawn(self._create(submission))

    @property
    def neighbour(self) -> str:
        """The customer whom no fault is meant for."""
        return self._money.neighbour

    def neighbours_job(self, kind: str) -> Submission:
        """Make a job of that customer."""
        submission = self._generator.next(kind=kind, customer_id=self._money.neighbour)
        submission.watched = submission.run_again = False
        self.submissions[submission.job_id] = submission
        return submission

    def repeat(self, submission: Submission) -> None:
        """Keep submitting a job whose first call had no response."""
        submission.tries += 1
        self._spawn(self._create(submission))

    def repeat_credit(self, request: CreditRequest) -> None:
        """Keep paying in until that gets a response."""
        self._spawn(self._money.pay(request))

    async def submit_flood(self, count: int) -> None:
        """Submit many jobs of one customer."""
        flood = [self._generator.next(kind=FLOOD, customer_id=self._money.flooding) for _ in range(count)]
        self.submissions.update((one.job_id, one) for one in flood)
        batches = [flood[start : start + _FLOOD_BATCH] for start in range(0, count, _FLOOD_BATCH)]

        async def submit_in_turn() -> None:
            while batches:
                await self._create_batch(batches.pop())

        tasks = [self._spawn(submit_in_turn()) for _ in range(_FLOOD_TASKS)]
        await asyncio.wait(tasks)

    async def cancel_flood(self) -> None:
        """Cancel those of them that have not begun."""
        await asyncio.wait([self._spawn(self._followers.cancel_all(self._money.flooding))])

    async def finish(self) -> None:
        """Wait until all calls are returned, and pay in what is missing for that."""
        while self._tasks:
            await self._money.top_up()
            await asyncio.wait(self._tasks, timeout=LATER_SECONDS)

    def give_up(self) -> None:
        """Stop repeating."""
        for task in self._tasks:
            task.cancel()

    async def _submit(self) -> None:
        mixed_due = quick_due = 0.0
        while True:
            mixed_due += self._mixed_per_tick
            quick_due += self._quick_per_tick
            made = [self._generator.next() for _ in range(int(mixed_due))]
            mixed_due %= 1
            if self._quick_per_tick:
                made += [self._generator.next(kind=QUICK) for _ in range(int(quick_due))]
                quick_due %= 1
                self._random.shuffle(made)
            self.submissions.update((one.job_id, one) for one in made)
            # Some one by one, the others together.
            alone = self._random.randrange(len(made) + 1)
            for one in made[:alone]:
                self._spawn(self._create(one))
            if made[alone:]:
                self._spawn(self._create_batch(made[alone:]))
            await asyncio.sleep(_TICK_SECONDS)

    def _spawn(self, work: Awaitable[None]) -> "asyncio.Future[None]":
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Future[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken.append(f"the load broke: {error!r}")

    async def _create(self, submission: Submission) -> None:
        while True:
            submission.tries += 1
            try:
                response = await self._clients.jobs.CreateJob(submission.request, timeout=CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                failure = read(error)
                if self._refused(submission, failure):
                    return
                await self._pause(failure, submission)
            else:
                self._accepted(submission, replayed=response.replayed)
                return

    async def _create_batch(self, submissions: Sequence[Submission]) -> None:
        left = list(submissions)
        while left:
            for submission in left:
                submission.tries += 1
            request = BatchCreateJobsRequest(requests=[submission.request for submission in left])
            try:
                response = await self._clients.jobs.BatchCreateJobs(request, timeout=CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                failure = read(error)
                left = [submission for submission in left if not self._refused(submission, failure)]
                await asyncio.sleep(pause_seconds(failure))
                continue
            again: list[Submission] = []
            failures: list[InnosystemError] = []
            for submission, result in zip(left, response.results, strict=True):
                if result.HasField("response"):
                    self._accepted(submission, replayed=result.response.replayed)
                elif not self._refused(submission, failure := error_from_status(result.error)):
                    again.append(submission)
                    failures.append(failure)
            if again:
                await self._pause(max(failures, key=pause_seconds), *again)
            left = again

    def _refused(self, submission: Submission, failure: InnosystemError) -> bool:
        """Whether this is the last word. Who pays in what is missing comes again."""
        if not self._calls.is_answer(failure) or self._money.comes_again(submission, failure):
            return False
        submission.refused = str(failure)
        return True

    async def _pause(self, failure: InnosystemError, *submissions: Submission) -> None:
        """Wait before the next try: for money longer than for a server."""
        short = any(self._money.is_waited_for(one) for one in submissions)
        await asyncio.sleep(LATER_SECONDS if short else pause_seconds(failure))

    def _accepted(self, submission: Submission, *, replayed: bool) -> None:
        submission.accepted, submission.replayed = True, replayed
        self._money.is_there(submission)
        if submission.run_again and not submission.kind.cancelled:
            self._spawn(self._followers.run_again(submission))
        if submission.cancel_after_seconds is not None:
            self._spawn(self._followers.take_back(submission, submission.cancel_after_seconds))
        if submission.watched:
            self._spawn(self._followers.watch(submission))

    async def _pay_in(self) -> None:
        while True:
            await asyncio.sleep(_TOP_UP_SECONDS)
            await self._money.top_up()
