"""Customers and API keys in memory, for tests."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from services.customers.rules.api_keys import ApiKey, NewApiKey
from services.customers.rules.entities import Customer, NewCustomer
from services.customers.usecases.ports import API_KEYS, CUSTOMERS, EMAIL_CONSTRAINT, ID_CONSTRAINT
from services.kit.data.repositories.memory import MemoryRepository, Unique


class MemoryCustomerRepository(MemoryRepository[Customer, NewCustomer]):
    """The customers of a `MemoryStore`."""

    table = "customers"
    entity = Customer
    resource = CUSTOMERS
    audited = True
    unique = (
        Unique(ID_CONSTRAINT, lambda customer: customer.id),
        Unique(EMAIL_CONSTRAINT, lambda customer: customer.email.lower()),
    )

    async def get_by_api_key_hash(self, api_key_hash: bytes, now: datetime) -> Customer | None:
        """Look at all keys."""
        keys: dict[UUID, ApiKey] = self._transactions.resource.tables.get(MemoryApiKeyRepository.table, {})
        for key in keys.values():
            if key.hash == api_key_hash and key.works(now):
                return self._rows.get(key.customer_id)
        return None


class MemoryApiKeyRepository(MemoryRepository[ApiKey, NewApiKey]):
    """The API keys of a `MemoryStore`."""

    table = "api_keys"
    entity = ApiKey
    resource = API_KEYS
    audited = True
    unique = (
        Unique("pk_api_keys", lambda key: key.id),
        Unique("uq_api_keys_hash", lambda key: key.hash),
    )

    async def without_end(self, customer_id: UUID) -> Sequence[ApiKey]:
        """Look at all keys."""
        return [key for key in self._rows.values() if key.customer_id == customer_id and key.expires_at is None]
