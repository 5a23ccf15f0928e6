"""Caches of what submissions read repeatedly: job types, and active customers with their limits.

A change of a job type through this process is seen by the next submission. A change through another process, and any
change of a customer, is seen when its message arrives, at the latest when the cached value expires. Only positive
results are cached: a customer that was inactive, and a job type that did not exist, are read again each time.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from typing_extensions import override

from services.jobs.rules.job_types import JobType, NewJobType
from services.jobs.usecases.ports import (
    CustomerReader,
    Customers,
    JobTypeCache,
    JobTypeRepository,
    JobTypes,
    KnownCustomer,
    LimitedCustomers,
)
from services.kit.batching.coalescing import Coalescer
from services.kit.cache.cache import Cache
from services.kit.cache.names import CUSTOMERS
from services.kit.cache.strategy import Strategy
from services.kit.data.transactions.ambient import Transactions
from services.kit.errors import DomainError
from services.kit.rates import CustomerLimits
from services.kit.settings import CacheSettings

_LIMITS_SECONDS: Final = 0.5

#: A job type's ID or name.
IdOrName = UUID | str


class CachedCustomers(Customers, LimitedCustomers):
    """A cache of active customers, in front of the customers service; concurrent misses share one call.

    Args:
        customers: The customers service.
        settings: Size and time to live.
    """

    def __init__(self, customers: CustomerReader, settings: CacheSettings) -> None:
        self._customers = customers
        self._calls: Coalescer[UUID, KnownCustomer | None] = Coalescer("customers", self._call)
        self.cache: Cache[UUID, KnownCustomer | DomainError] = Cache(
            CUSTOMERS,
            size=settings.size,
            ttl_seconds=settings.ttl_seconds,
            strategy=Strategy.NONSTRICT_READ_WRITE,
            keep=lambda one: isinstance(one, KnownCustomer) and one.active,
        )

    @override
    async def active(self, customer_ids: Collection[UUID]) -> Mapping[UUID, bool | DomainError]:
        found = await self.cache.get_many(customer_ids, self._load)
        return {one: known.active if isinstance(known, KnownCustomer) else known for one, known in found.items()}

    @override
    async def limits(self, customer_ids: Collection[UUID]) -> Mapping[UUID, CustomerLimits]:
        """Return the limits. While the customers service is slow, those of the settings apply after a moment."""
        try:
            async with asyncio.timeout(_LIMITS_SECONDS):
                found = await self.cache.get_many(customer_ids, self._load)
        except TimeoutError:
            return {}
        return {one: known.limits for one, known in found.items() if isinstance(known, KnownCustomer)}

    async def _load(self, customer_ids: Sequence[UUID]) -> Mapping[UUID, KnownCustomer | DomainError]:
        results = await self._calls(customer_ids)
        return {one: result for one, result in zip(customer_ids, results, strict=True) if result is not None}

    async def _call(self, customer_ids: Sequence[UUID]) -> list[KnownCustomer | DomainError | None]:
        found = await self._customers.read(set(customer_ids))
        return [found.get(one) for one in customer_ids]


class CachedJobTypes(JobTypes, JobTypeCache):
    """A cache of job types by ID and by name.

    Args:
        transactions: The transactions of the jobs database.
        job_types: The stored job types.
        settings: Size and time to live.
    """

    def __init__(self, transactions: Transactions[Any], job_types: JobTypeRepository, settings: CacheSettings) -> None:
        self._transactions = transactions
        self._job_types = job_types
        self.cache: Cache[IdOrName, JobType | DomainError] = Cache(
            "jobs.job_types",
            size=settings.size,
            ttl_seconds=settings.ttl_seconds,
            strategy=Strategy.NONSTRICT_READ_WRITE,
            keep=lambda result: isinstance(result, JobType),
        )

    @override
    async def resolve(self, wanted: Collection[IdOrName]) -> Mapping[IdOrName, JobType | DomainError]:
        """Return the job types that exist; for a row that is not understood, the error to fail with.

        Must be called outside of a transaction, because all callers share what one of them reads.
        """
        return await self.cache.get_many(wanted, self._load)

    @override
    def changing(self, *job_types: NewJobType) -> None:
        self._transactions.after_end(self.cache.changing({key for one in job_types for key in (one.id, one.name)}))

    @override
    def forget(self, wanted: Collection[IdOrName]) -> None:
        self.cache.forget(wanted)

    async def _load(self, wanted: Sequence[IdOrName]) -> Mapping[IdOrName, JobType | DomainError]:
        async with self._transactions.begin(read_only=True):
            return await self._job_types.resolve(
                [one for one in wanted if isinstance(one, UUID)], [one for one in wanted if isinstance(one, str)]
            )
