"""Transactions in memory, for tests: one at a time, REQUIRED only. They do not replace a database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from services.kit.data.errors import TransactionMisused
from services.kit.data.transactions.ambient import Definition, Opened, Transactions

Tables = dict[str, dict[Any, Any]]


@dataclass
class MemoryStore:
    """The tables of a service in memory: the counterpart of a database."""

    tables: Tables = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class _OpenedStore:
    def __init__(self, store: MemoryStore) -> None:
        self.resource = store
        self._before = {name: dict(rows) for name, rows in store.tables.items()}

    async def commit(self) -> None:
        """Do nothing: the changes are in the tables already."""

    async def rollback(self) -> None:
        # Repositories look tables up by name, so the tables stay the same objects.
        for name, rows in self.resource.tables.items():
            rows.clear()
            rows.update(self._before.get(name, {}))


class MemoryTransactions(Transactions[MemoryStore]):
    """The transactions on a `MemoryStore`; each waits until the one before has ended."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self._store = store or MemoryStore()

    @asynccontextmanager
    async def _transaction(self, definition: Definition, *, suspended: bool) -> AsyncIterator[Opened[MemoryStore]]:
        if suspended:
            raise TransactionMisused("in memory, only one transaction is possible at a time")
        async with self._store.lock:
            yield _OpenedStore(self._store)

    def _savepoint(self, resource: MemoryStore) -> AbstractAsyncContextManager[Opened[MemoryStore]]:
        raise TransactionMisused("in memory, savepoints do not exist")

    def _without(self, *, suspended: bool) -> AbstractAsyncContextManager[Opened[MemoryStore]]:
        raise TransactionMisused("in memory, all work needs a transaction")
