"""The books in the customers database, read in short read-only transactions."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, text
from typing_extensions import override

from services.kit.data.transactions.sql import SqlTransactions
from tools.verify.lines import CustomersBooks

# Deletion is soft: a customer's row stays for ever.
_EXISTING = text("SELECT id FROM customers WHERE id = ANY(:ids)").bindparams(bindparam("ids", type_=ARRAY(Uuid())))


class SqlCustomersBooks(CustomersBooks):
    """The customers.

    Args:
        transactions: Transactions of the customers database.
    """

    def __init__(self, transactions: SqlTransactions) -> None:
        self._transactions = transactions

    @override
    async def existing(self, customer_ids: Collection[UUID]) -> set[UUID]:
        async with self._transactions.begin(read_only=True):
            result = await self._transactions.resource.execute(_EXISTING, {"ids": list(customer_ids)})
            return set(result.scalars())
