"""Customers and API keys in memory, for tests."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from uuid import UUID

from typing_extensions import override

from services.customers.rules import constraints
from services.customers.rules.api_keys import ApiKey, NewApiKey
from services.customers.rules.entities import Customer, NewCustomer
from services.customers.rules.resources import API_KEYS, CUSTOMERS
from services.customers.usecases.ports import USES_APART, ApiKeyRepository, CustomerRepository
from services.kit.data.repositories.memory import MemoryRepository, Unique


class MemoryCustomerRepository(MemoryRepository[Customer, NewCustomer], CustomerRepository):
    """The customers of a `MemoryStore`."""

    table = "customers"
    entity = Customer
    resource = CUSTOMERS
    audited = True
    unique = (
        Unique(constraints.CUSTOMER_ID, lambda customer: customer.id),
        Unique(constraints.CUSTOMER_EMAIL, lambda customer: customer.email.lower()),
    )


class MemoryApiKeyRepository(MemoryRepository[ApiKey, NewApiKey], ApiKeyRepository):
    """The API keys of a `MemoryStore`."""

    table = "api_keys"
    entity = ApiKey
    resource = API_KEYS
    audited = True
    unique = (
        Unique(constraints.API_KEY_ID, lambda key: key.id),
        Unique(constraints.API_KEY_HASH, lambda key: key.hash),
    )

    @override
    async def by_hash(self, key_hash: bytes) -> ApiKey | None:
        return next((key for key in self._rows.values() if key.hash == key_hash), None)

    @override
    async def present(self, customer_id: UUID) -> Sequence[ApiKey]:
        own = [key for key in self._rows.values() if key.customer_id == customer_id]
        return [key for key in own if not key.name and key.expires_at is None]

    @override
    async def used(self, api_key_ids: Collection[UUID]) -> None:
        now = self.now()
        for key in [self._rows[one] for one in api_key_ids if one in self._rows]:
            if key.last_used_at is None or key.last_used_at < now - USES_APART:
                self._rows[key.id] = replace(key, last_used_at=now)
