"""A test's transaction with the repositories in it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, TypeVar

from services.kit.data.transactions.ambient import Transactions

W = TypeVar("W", bound="Work")


class Work:
    """Repositories in a transaction that is rolled back unless the test commits it."""

    def __init__(self, transactions: Transactions[Any]) -> None:
        self.transactions = transactions
        self.committed = False

    async def commit(self) -> None:
        """Has the changes last when the block is left. Nothing may be done afterwards."""
        self.committed = True


class Begin(Generic[W]):
    """Begins transactions on one implementation."""

    def __init__(self, make: Callable[[], W]) -> None:
        self.make = make

    def __call__(self) -> AbstractAsyncContextManager[W]:
        return self._begun()

    @asynccontextmanager
    async def _begun(self) -> AsyncIterator[W]:
        work = self.make()
        async with work.transactions.begin() as transaction:
            yield work
            if not work.committed:
                transaction.roll_back()
