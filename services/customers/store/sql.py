"""Customers and API keys in PostgreSQL."""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import func, or_, select, update
from typing_extensions import override

from services.customers.rules.api_keys import ApiKey, NewApiKey
from services.customers.rules.entities import Customer, NewCustomer
from services.customers.rules.resources import API_KEYS, CUSTOMERS
from services.customers.store.tables import api_keys, customers
from services.customers.usecases.ports import USES_APART, ApiKeyRepository, CustomerRepository
from services.kit.data.corrupt import understood
from services.kit.data.repositories.sql import SqlRepository


class SqlCustomerRepository(SqlRepository[Customer, NewCustomer], CustomerRepository):
    """The table `customers`."""

    table = customers
    entity = Customer
    resource = CUSTOMERS
    audited = True


class SqlApiKeyRepository(SqlRepository[ApiKey, NewApiKey], ApiKeyRepository):
    """The table `api_keys`."""

    table = api_keys
    entity = ApiKey
    resource = API_KEYS
    audited = True

    @override
    async def by_hash(self, key_hash: bytes) -> ApiKey | None:
        return await self._one(self._select().where(api_keys.c.hash == key_hash))

    @override
    async def present(self, customer_id: UUID) -> Sequence[ApiKey]:
        """Read them by the index on the customer, whose keys are few."""
        key = api_keys.c
        present = (key.customer_id == customer_id, key.name == "", key.expires_at.is_(None))
        return list(understood(await self._all(self._select().where(*present))))

    @override
    async def used(self, api_key_ids: Collection[UUID]) -> None:
        """Change no version and no trail. A locked key is left out: its next use will be noted."""
        key = api_keys.c
        stale = or_(key.last_used_at.is_(None), key.last_used_at < func.now() - USES_APART)
        due = select(key.id).where(key.id.in_(api_key_ids), stale).with_for_update(skip_locked=True)
        await self._connection.execute(update(api_keys).where(key.id.in_(due)).values(last_used_at=func.now()))
