"""Customers and API keys in PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import or_, select

from services.customers.rules.api_keys import ApiKey, NewApiKey
from services.customers.rules.entities import Customer, NewCustomer
from services.customers.store.tables import api_keys, customers
from services.customers.usecases.ports import API_KEYS, CUSTOMERS
from services.kit.data.corrupt import understood
from services.kit.data.repositories.sql import SqlRepository


class SqlCustomerRepository(SqlRepository[Customer, NewCustomer]):
    """The table `customers`."""

    table = customers
    entity = Customer
    resource = CUSTOMERS
    audited = True

    async def get_by_api_key_hash(self, api_key_hash: bytes, now: datetime) -> Customer | None:
        """Look the key up by its hash, and the customer by the key."""
        key = api_keys.c
        owner = select(key.customer_id).where(
            key.hash == api_key_hash, or_(key.expires_at.is_(None), key.expires_at > now)
        )
        return await self._one(self._select().where(customers.c.id == owner.scalar_subquery()))


class SqlApiKeyRepository(SqlRepository[ApiKey, NewApiKey]):
    """The table `api_keys`."""

    table = api_keys
    entity = ApiKey
    resource = API_KEYS
    audited = True

    async def without_end(self, customer_id: UUID) -> Sequence[ApiKey]:
        """Read all keys of the customer that an index has together; they are few."""
        key = api_keys.c
        found = await self._all(self._select().where(key.customer_id == customer_id, key.expires_at.is_(None)))
        return list(understood(found))
