"""Customers and API keys in PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import or_, select
from typing_extensions import override

from services.customers.rules.api_keys import ApiKey, NewApiKey
from services.customers.rules.entities import Customer, NewCustomer
from services.customers.rules.resources import API_KEYS, CUSTOMERS
from services.customers.store.tables import api_keys, customers
from services.customers.usecases.ports import ApiKeyRepository, CustomerRepository
from services.kit.data.corrupt import understood
from services.kit.data.repositories.sql import SqlRepository


class SqlCustomerRepository(SqlRepository[Customer, NewCustomer], CustomerRepository):
    """The table `customers`."""

    table = customers
    entity = Customer
    resource = CUSTOMERS
    audited = True

    @override
    async def get_by_api_key_hash(self, api_key_hash: bytes, now: datetime) -> Customer | None:
        """Look up the key by its hash, and the customer by the key."""
        key = api_keys.c
        owner = select(key.customer_id).where(
            key.hash == api_key_hash, or_(key.expires_at.is_(None), key.expires_at > now)
        )
        return await self._one(self._select().where(customers.c.id == owner.scalar_subquery()))


class SqlApiKeyRepository(SqlRepository[ApiKey, NewApiKey], ApiKeyRepository):
    """The table `api_keys`."""

    table = api_keys
    entity = ApiKey
    resource = API_KEYS
    audited = True

    @override
    async def without_expiry(self, customer_id: UUID) -> Sequence[ApiKey]:
        """Read them by the index on the customer, whose keys are few."""
        key = api_keys.c
        found = await self._all(self._select().where(key.customer_id == customer_id, key.expires_at.is_(None)))
        return list(understood(found))
