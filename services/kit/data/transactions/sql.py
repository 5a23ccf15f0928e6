"""Transactions on a `Database`."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncTransaction

from services.kit.data.dialects import Dialect
from services.kit.data.engine.database import Database
from services.kit.data.engine.prepared import Prepared, Row
from services.kit.data.errors import PoolExhausted, UnexpectedRollback
from services.kit.data.transactions.ambient import Definition, Opened, Transactions


@dataclass(frozen=True)
class _OpenedTransaction:
    transaction: AsyncTransaction
    dialect: Dialect
    make_last: Callable[[], Awaitable[None]]

    @property
    def resource(self) -> AsyncConnection:
        return self.transaction.connection

    async def commit(self) -> None:
        # After a failed statement, PostgreSQL rolls back at COMMIT without an error.
        connection = self.transaction.connection.sync_connection
        if connection is not None and not connection.closed and self.dialect.is_aborted(connection):
            await self.transaction.rollback()
            raise UnexpectedRollback
        await self.make_last()

    async def rollback(self) -> None:
        if self.transaction.is_active:
            await self.transaction.rollback()


@dataclass(frozen=True)
class _WithoutTransaction:
    resource: AsyncConnection

    async def commit(self) -> None:
        """Do nothing: each statement has committed."""

    async def rollback(self) -> None:
        """Do nothing: each statement has committed."""


class SqlTransactions(Transactions[AsyncConnection]):
    """The transactions of a `Database`; repositories work on its connections."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.dialect = database.dialect

    async def execute(self, prepared: Prepared, parameters: Mapping[str, Any]) -> Sequence[Row]:
        """Execute a prepared statement in the open transaction.

        Returns:
            The rows; none for a statement without rows.
        """
        return await self._database.execute(self.resource, prepared, parameters)

    @asynccontextmanager
    async def _transaction(self, definition: Definition, *, suspended: bool) -> AsyncIterator[Opened[AsyncConnection]]:
        self._check_room(suspended=suspended)
        isolation = definition.isolation.value if definition.isolation else None
        async with self._database.transaction(isolation=isolation, read_only=definition.read_only) as transaction:
            yield _OpenedTransaction(transaction, self.dialect, lambda: self._database.commit(transaction))

    @asynccontextmanager
    async def _savepoint(self, resource: AsyncConnection) -> AsyncIterator[Opened[AsyncConnection]]:
        savepoint = await resource.begin_nested()
        yield _OpenedTransaction(savepoint, self.dialect, savepoint.commit)

    @asynccontextmanager
    async def _without(self, *, suspended: bool) -> AsyncIterator[Opened[AsyncConnection]]:
        self._check_room(suspended=suspended)
        async with self._database.autocommit() as connection:
            yield _WithoutTransaction(connection)

    def _check_room(self, *, suspended: bool) -> None:
        # Transactions that hold a connection and wait for a second one may wait for each other.
        if suspended and not self._database.has_free_connection:
            raise PoolExhausted
