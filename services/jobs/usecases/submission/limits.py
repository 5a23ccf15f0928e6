"""The limits of submissions: of the caller, and of the customers for whom a client submits."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any, Final
from uuid import UUID

from services.jobs.rules.submission import Submission
from services.jobs.usecases.ports import JobRepository, LimitedCustomers
from services.kit.auth.principal import Kind, Principal
from services.kit.data.transactions.ambient import Transactions
from services.kit.errors import RateLimited
from services.kit.limits.limits import Limits, Submitted, refusal
from services.kit.rates import CustomerLimits

_CUSTOMERS_MAX: Final = 10_000
_OLD_SECONDS: Final = 15.0
#: The pause between two counts of jobs that are not final.
COUNT_EVERY_SECONDS: Final = 5.0


class UnfinishedJobs:
    """How many jobs of a customer are not final, about: counted every few seconds, never by a submission.

    A process adds what it submits itself. Nothing is counted while no caller asks.

    Args:
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
        clock: Returns a monotonic time in seconds.

    Attributes:
        asked: Set when a caller asks.
    """

    def __init__(
        self, transactions: Transactions[Any], jobs: JobRepository, clock: Callable[[], float] = monotonic
    ) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._clock = clock
        self._counted: Mapping[UUID, int] = {}
        self._counted_at = -_OLD_SECONDS
        self._submitted: Counter[UUID] = Counter()
        self.asked = asyncio.Event()

    def of(self, customer_id: UUID) -> int:
        """Return how many jobs of a customer are not final; 0 until they are counted."""
        self.asked.set()
        if self._clock() - self._counted_at > _OLD_SECONDS:
            return 0
        return self._counted.get(customer_id, 0) + self._submitted[customer_id]

    def add(self, customer_id: UUID, jobs: int) -> None:
        """Note submitted jobs, which the next count includes."""
        self._submitted[customer_id] += jobs

    async def round(self) -> bool:
        """Count once, when a caller has asked."""
        await self.asked.wait()
        self.asked.clear()
        self._submitted.clear()
        async with self.transactions.begin(read_only=True):
            self._counted = await self._jobs.count_unfinished(_CUSTOMERS_MAX)
        self._counted_at = self._clock()
        return False


class SubmissionLimits:
    """Counts the submissions of callers.

    Args:
        limits: The limits of the service.
        customers: The limits of customers that differ.
        unfinished: How many jobs of customers are not final.
    """

    def __init__(self, limits: Limits, customers: LimitedCustomers, unfinished: UnfinishedJobs) -> None:
        self._limits = limits
        self._customers = customers
        self._unfinished = unfinished

    async def refused(
        self, submissions: Sequence[Submission], who: Principal, *, only_look: bool = False
    ) -> Mapping[UUID, RateLimited]:
        """Count submissions, repeated ones as well.

        Args:
            submissions: Those of one call.
            who: Its caller.
            only_look: Whether nothing is used up.

        Returns:
            The customers with a limit that is used up, whose submissions are to be refused.

        Raises:
            RateLimited: If a limit of the caller is used up.
        """
        if not self._limits.apply_to(who):
            return {}
        costs: dict[UUID, Submitted] = {}
        for one in submissions:
            jobs, size = costs.get(one.customer_id, (0, 0))
            costs[one.customer_id] = Submitted(jobs + 1, size + _bytes(one.input_json))
        return await self._refused(costs, who, only_look=only_look)

    async def refused_again(self, customer_ids: Iterable[UUID], who: Principal) -> Mapping[UUID, RateLimited]:
        """Count jobs that run again, as submissions without an input: it is stored already.

        Args:
            customer_ids: The customer of each job.
            who: The caller.

        Returns:
            The customers with a limit that is used up, whose jobs are not to run again.

        Raises:
            RateLimited: If a limit of the caller is used up.
        """
        counted = Counter(customer_ids)
        if not counted or not self._limits.apply_to(who):
            return {}
        return await self._refused({one: Submitted(jobs, 0) for one, jobs in counted.items()}, who)

    async def _refused(
        self, costs: Mapping[UUID, Submitted], who: Principal, *, only_look: bool = False
    ) -> Mapping[UUID, RateLimited]:
        if who.kind is not Kind.CLIENT:
            return self._limits.submit(who, costs, {}, only_look=only_look)
        own = await self._customers.limits(costs.keys())
        added = {one: 0 if only_look else costs[one].jobs for one in costs}
        full = {one: error for one in costs if (error := self._full(one, added[one], own.get(one)))}
        rest = {one: cost for one, cost in costs.items() if one not in full}
        return {**full, **self._limits.submit(who, rest, own, only_look=only_look)} if rest else full

    def _full(self, customer_id: UUID, jobs: int, own: CustomerLimits | None) -> RateLimited | None:
        """Return the error for a customer with too many jobs that are not final; else add the new ones."""
        jobs_max = self._limits.customer_jobs_waiting
        if own is not None and own.jobs_waiting is not None:
            jobs_max = own.jobs_waiting
        if not jobs_max:
            return None
        if self._unfinished.of(customer_id) >= jobs_max:
            return refusal("customer_jobs_waiting", jobs_max, COUNT_EVERY_SECONDS)
        self._unfinished.add(customer_id, jobs)
        return None


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))
