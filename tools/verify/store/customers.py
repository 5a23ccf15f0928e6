"""Reads the customers database: read-only, in short transactions."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, text

from services.kit.data.transactions.sql import SqlTransactions

# Deletion is soft: a customer's row is for ever.
_EXISTING = text("SELECT id FROM customers WHERE id = ANY(:ids)").bindparams(bindparam("ids", type_=ARRAY(Uuid())))


class SqlCustomersBooks:
    """Customers.

    Args:
        transactions: Of the customers database.
    """

    def __init__(self, transactions: SqlTransactions) -> None:
        self._transactions = transactions

    async def existing(self, customer_ids: Collection[UUID]) -> set[UUID]:
        """Look the primary key up."""
        async with self._transactions.begin(read_only=True):
            result = await self._transactions.resource.execute(_EXISTING, {"ids": list(customer_ids)})
            return set(result.scalars())
