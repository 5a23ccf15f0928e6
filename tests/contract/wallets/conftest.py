"""The ledger in memory and on PostgreSQL, and the use cases on them."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from pydantic import SecretStr

from services.kit.data.engine.database import Database
from services.kit.data.transactions.memory import MemoryTransactions
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.settings import DatabaseSettings
from services.wallets.usecases.wallets import WalletsService
from tests.support.wallets_work import BeginWallets, memory_work, sql_work
from tests.support.work import Begin


@pytest.fixture(params=["memory", "postgresql"])
def open_database(request: pytest.FixtureRequest) -> Callable[[str], Awaitable[Database]] | None:
    """Open the database in a transaction that is rolled back; None for the tests in memory."""
    if request.param == "memory":
        return None
    opened: Callable[[str], Awaitable[Database]] = request.getfixturevalue("rolled_back")
    return opened


@pytest.fixture
async def begin(open_database: Callable[[str], Awaitable[Database]] | None) -> BeginWallets:
    """Begins a transaction on an empty ledger."""
    if open_database is None:
        memory = MemoryTransactions()
        return Begin(lambda: memory_work(memory))
    transactions = SqlTransactions(await open_database("wallets"))
    return Begin(lambda: sql_work(transactions))


@pytest.fixture
def service(begin: BeginWallets) -> WalletsService:
    """The use cases on it."""
    return begin.make().service


@pytest.fixture
async def databases(fresh_database: Callable[[str], str]) -> AsyncIterator[list[Database]]:
    """Two pools on one database of the test's own, as two processes would have."""
    url = SecretStr(fresh_database("wallets"))
    pools = [Database.connect(DatabaseSettings(url=url), application_name=f"test-{n}") for n in range(2)]
    yield pools
    for pool in pools:
        await pool.close()
