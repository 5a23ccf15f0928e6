"""The unit of work: what a use case does to stored data, all or nothing.

    async with self._unit_of_work() as work:
        customer = await work.customers.get(customer_id)
        ...
        await work.commit()

Leaving the block without `commit` rolls back. A use case makes no network call inside the block.
"""

import asyncio
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Protocol, Self

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncTransaction

from services.kit.data.database import Database


class UnitOfWork(Protocol):
    """What a use case sees of a transaction. Services add their repositories as attributes."""

    async def __aenter__(self) -> Self:
        """Begins."""
        ...

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Rolls back what was not committed."""
        ...

    async def commit(self) -> None:
        """Makes the changes last. Nothing may be done in the unit afterwards."""
        ...


class SqlUnitOfWork(ABC):
    """A transaction on a service's database. Services derive from it and make their repositories in `bind`."""

    _opened: AbstractAsyncContextManager[AsyncTransaction]
    _transaction: AsyncTransaction

    def __init__(self, database: Database) -> None:
        self._database = database

    @abstractmethod
    def bind(self, connection: AsyncConnection) -> None:
        """Makes the repositories on the transaction's connection."""

    async def __aenter__(self) -> Self:
        self._opened = self._database.transaction()
        self._transaction = await self._opened.__aenter__()
        self.bind(self._transaction.connection)
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._opened.__aexit__(error_type, error, traceback)

    async def commit(self) -> None:
        """Commits the transaction."""
        await self._transaction.commit()


class MemoryStore:
    """The tables of a service in memory, for tests: what a database is to the SQL repositories.

    Its units of work run one at a time and put back the tables they found unless they commit.
    """

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.tables: dict[str, dict[Any, Any]] = {}


class MemoryUnitOfWork(ABC):
    """A transaction on a `MemoryStore`. Services derive from it and make their repositories in `bind`."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._before: dict[str, dict[Any, Any]] | None = None

    @abstractmethod
    def bind(self, store: MemoryStore) -> None:
        """Makes the repositories on the store."""

    async def __aenter__(self) -> Self:
        await self._store.lock.acquire()
        self._before = {name: dict(rows) for name, rows in self._store.tables.items()}
        self.bind(self._store)
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._before is not None:
            for name, rows in self._store.tables.items():
                before = self._before.get(name, {})
                rows.clear()
                rows.update(before)
        self._store.lock.release()

    async def commit(self) -> None:
        """Keeps the changes."""
        self._before = None
