"""The wallets' units of work in memory and on PostgreSQL, and the use cases on them."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from pydantic import SecretStr

from services.kit.data.database import Database
from services.kit.data.unit_of_work import MemoryStore
from services.kit.settings import DatabaseSettings
from services.wallets.repository import WalletsUnitOfWork
from services.wallets.repository_memory import MemoryWalletsUnitOfWork
from services.wallets.repository_sql import SqlWalletsUnitOfWork
from services.wallets.service import WalletsService

Begin = Callable[[], WalletsUnitOfWork]


@pytest.fixture(params=["memory", "postgresql"])
def open_database(request: pytest.FixtureRequest) -> Callable[[str], Awaitable[Database]] | None:
    """Opens the database in a transaction that is rolled back; None for the tests in memory."""
    if request.param == "memory":
        return None
    opened: Callable[[str], Awaitable[Database]] = request.getfixturevalue("rolled_back")
    return opened


@pytest.fixture
async def begin(open_database: Callable[[str], Awaitable[Database]] | None) -> Begin:
    """Begins a unit of work on an empty ledger."""
    if open_database is None:
        store = MemoryStore()
        return lambda: MemoryWalletsUnitOfWork(store)
    database = await open_database("wallets")
    return lambda: SqlWalletsUnitOfWork(database)


@pytest.fixture
def service(begin: Begin) -> WalletsService:
    """The use cases on it."""
    return WalletsService(begin)


@pytest.fixture
async def databases(fresh_database: Callable[[str], str]) -> AsyncIterator[list[Database]]:
    """Two pools on one database of the test's own, as two processes would have."""
    url = SecretStr(fresh_database("wallets"))
    pools = [Database.connect(DatabaseSettings(url=url), application_name=f"test-{n}") for n in range(2)]
    yield pools
    for pool in pools:
        await pool.close()
