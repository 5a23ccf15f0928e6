"""Customers and API keys in memory, for tests."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from typing_extensions import override

from services.customers.rules import constraints
from services.customers.rules.api_keys import ApiKey, NewApiKey
from services.customers.rules.entities import Customer, NewCustomer
from services.customers.rules.resources import API_KEYS, CUSTOMERS
from services.customers.usecases.ports import ApiKeyRepository, CustomerRepository
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

    @override
    async def get_by_api_key_hash(self, api_key_hash: bytes, now: datetime) -> Customer | None:
        keys: dict[UUID, ApiKey] = self._transactions.resource.tables.get(MemoryApiKeyRepository.table, {})
        for key in keys.values():
            if key.hash == api_key_hash and key.works(now):
                return self._rows.get(key.customer_id)
        return None


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
    async def without_expiry(self, customer_id: UUID) -> Sequence[ApiKey]:
        return [key for key in self._rows.values() if key.customer_id == customer_id and key.expires_at is None]
