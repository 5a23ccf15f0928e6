"""Customers in PostgreSQL."""

from sqlalchemy import or_

from services.customers.domain import Customer, NewCustomer
from services.customers.models import customers
from services.customers.repository import CUSTOMERS
from services.kit.data.repository_sql import SqlRepository


class SqlCustomerRepository(SqlRepository[Customer, NewCustomer]):
    """The table `customers`."""

    table = customers
    entity = Customer
    resource = CUSTOMERS
    audited = True

    async def get_by_api_key_hash(self, api_key_hash: bytes) -> Customer | None:
        """Looks both key columns up; each has an index."""
        columns = customers.c
        return await self._one(
            self._select().where(
                or_(
                    columns.api_key_hash == api_key_hash,
                    columns.previous_api_key_hash == api_key_hash,
                )
            )
        )
