"""The jobs that exist for a caller: for a bound one, those of its customers and queues.

What belongs to others is looked for neither in a batch that callers share nor under a lock: a job that others keep
locked would differ from one that does not exist. So a bound caller pays one statement by primary keys for a call.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol, TypeVar
from uuid import UUID

from services.jobs.rules.errors import JobNotFound
from services.jobs.rules.resources import CUSTOMER_ID, QUEUE
from services.jobs.usecases.ports import JobRepository
from services.kit.auth.tenants import Tenants
from services.kit.data.transactions.ambient import Propagation, Transactions
from services.kit.errors import DomainError
from services.kit.query.listing import Narrowing


class OfJob(Protocol):
    """A part of a request that is about one job."""

    @property
    def job_id(self) -> UUID:
        """The job."""


I = TypeVar("I", bound=OfJob)  # noqa: E741 - an item, as in services.kit.rpc.batches
R = TypeVar("R")


def narrowing(tenants: Tenants) -> Narrowing:
    """Return the narrowing of lists of jobs."""
    return tenants.narrowing(CUSTOMER_ID, QUEUE)


async def own_jobs(
    transactions: Transactions[Any], jobs: JobRepository, job_ids: Collection[UUID], tenants: Tenants
) -> AbstractSet[UUID]:
    """Return those of some jobs that exist for a caller; all of them if it is not bound, whether they exist or not."""
    if tenants.are_all or not job_ids:
        return frozenset(job_ids)
    # One statement: a transaction around it would be two more round trips.
    async with transactions.begin(Propagation.SUPPORTS):
        return await jobs.own(job_ids, tenants)


async def for_own_jobs(
    transactions: Transactions[Any],
    jobs: JobRepository,
    items: Sequence[I],
    tenants: Tenants,
    work: Callable[[Sequence[I]], Awaitable[Sequence[R | DomainError]]],
) -> list[R | DomainError]:
    """Do work for the items whose jobs exist for a caller; for the others, return what a job that does not exist gets.

    Args:
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
        items: The items of the request.
        tenants: Whose jobs exist for the caller.
        work: Returns a result for each item, in the same order.

    Returns:
        The results, aligned with the items.
    """
    if tenants.are_all:
        return list(await work(items))
    own = await own_jobs(transactions, jobs, {one.job_id for one in items}, tenants)
    kept = [one for one in items if one.job_id in own]
    results = iter(await work(kept) if kept else ())
    return [next(results) if one.job_id in own else JobNotFound(one.job_id) for one in items]
