"""What submissions ask for again and again, kept for a moment: job types, and which customers are active.

A change of a job type through this process is seen by the next submission; one through another process, and any of a
customer, when its message arrives, and at the latest when the time of the cache has passed. Only good news is kept: a
customer that was refused as inactive, and a job type that did not exist, are asked for again at once.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from services.jobs.rules.job_types import JobType, NewJobType
from services.jobs.usecases.ports import Customers, JobTypeCache, JobTypeRepository, JobTypes
from services.kit.batching.coalescing import Coalescer
from services.kit.cache.cache import Cache
from services.kit.cache.names import CUSTOMERS
from services.kit.cache.strategy import Strategy
from services.kit.data.transactions.ambient import Transactions
from services.kit.errors import DomainError
from services.kit.settings import CacheSettings

Wanted = UUID | str


class CachedCustomers(Customers):
    """The customers service, asked only for customers that were not active a moment ago, and once for many of them.

    Args:
        customers: Asks it.
        settings: Size and time.
    """

    def __init__(self, customers: Customers, settings: CacheSettings) -> None:
        self._customers = customers
        self._asked: Coalescer[UUID, bool | None] = Coalescer("customers", self._ask)
        self.cache: Cache[UUID, bool | DomainError] = Cache(
            CUSTOMERS,
            size=settings.size,
            ttl_seconds=settings.ttl_seconds,
            strategy=Strategy.NONSTRICT_READ_WRITE,
            keep=lambda answer: answer is True,
        )

    async def active(self, customer_ids: Collection[UUID]) -> Mapping[UUID, bool | DomainError]:
        """Answers as `Customers.active` does."""
        return await self.cache.get_many(customer_ids, self._load)

    async def _load(self, customer_ids: Sequence[UUID]) -> Mapping[UUID, bool | DomainError]:
        answers = await self._asked(customer_ids)
        return {one: answer for one, answer in zip(customer_ids, answers, strict=True) if answer is not None}

    async def _ask(self, customer_ids: Sequence[UUID]) -> list[bool | DomainError | None]:
        found = await self._customers.active(set(customer_ids))
        return [found.get(one) for one in customer_ids]


class CachedJobTypes(JobTypes, JobTypeCache):
    """Job types by ID and by name, as submissions need them.

    Args:
        transactions: Where reading begins.
        job_types: The stored job types.
        settings: Size and time.
    """

    def __init__(self, transactions: Transactions[Any], job_types: JobTypeRepository, settings: CacheSettings) -> None:
        self._transactions = transactions
        self._job_types = job_types
        self.cache: Cache[Wanted, JobType | DomainError] = Cache(
            "jobs.job_types",
            size=settings.size,
            ttl_seconds=settings.ttl_seconds,
            strategy=Strategy.NONSTRICT_READ_WRITE,
            keep=lambda answer: isinstance(answer, JobType),
        )

    async def resolve(self, wanted: Collection[Wanted]) -> Mapping[Wanted, JobType | DomainError]:
        """Answers those that exist; a row that is not understood is answered as the error to fail with.

        Not to be called in a transaction: what is read for one caller is for all.
        """
        return await self.cache.get_many(wanted, self._load)

    def changing(self, *job_types: NewJobType) -> None:
        """Has the open transaction, which changes job types, drop them from the caches when it ends."""
        self._transactions.after_end(self.cache.changing({key for one in job_types for key in (one.id, one.name)}))

    def forget(self, wanted: Collection[Wanted]) -> None:
        """Drops job types that turned out to be stale."""
        self.cache.forget(wanted)

    async def _load(self, wanted: Sequence[Wanted]) -> Mapping[Wanted, JobType | DomainError]:
        async with self._transactions.begin(read_only=True):
            return await self._job_types.resolve(
                [one for one in wanted if isinstance(one, UUID)], [one for one in wanted if isinstance(one, str)]
            )
