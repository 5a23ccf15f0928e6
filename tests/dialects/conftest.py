"""The databases of three dialects, each with the same tables."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import nullcontext

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from services.kit.data.dialects import MARIADB, dialect_named
from services.kit.data.engine.database import Database
from services.kit.settings import DatabaseSettings
from tests.dialects import mariadb_server
from tests.dialects.example import World, metadata

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
_NAME = f"dialects_{_WORKER}"
_THREAD_SECONDS = 10
_MARIADB_URL = os.environ.get("MARIADB_URL", "")
_MARIADB = None if _MARIADB_URL else mariadb_server.find()
HAS_MARIADB = bool(_MARIADB_URL or _MARIADB)


class AnyDatabaseSettings(DatabaseSettings):
    """The toolkit's settings without the services' rule that it has to be PostgreSQL."""

    url: SecretStr


@pytest.fixture(scope="session", params=["postgresql", "sqlite", *(["mariadb"] if HAS_MARIADB else [])])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a database of each dialect."""
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        server.create_database(_NAME)
        yield server.url(_NAME)
        server.drop_database(_NAME)
    elif request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'database'}"
    else:
        with mariadb_server.running(_MARIADB) if _MARIADB else nullcontext(_MARIADB_URL) as server:
            url = make_url(server).set(database=_NAME)
            # It ignores case, accents and spaces at the end: what columns don't say themselves is not relied on.
            how = "CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
            asyncio.run(_execute(server, f"CREATE OR REPLACE DATABASE {_NAME} {how}"))
            yield url.render_as_string(hide_password=False)
            asyncio.run(_execute(server, f"DROP DATABASE {_NAME}"))


async def _execute(address: str, statement: str) -> None:
    engine = create_async_engine(make_url(address).set(drivername=MARIADB.drivername), isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(statement))
    await engine.dispose()


@pytest.fixture(autouse=True)
async def threads_have_ended() -> AsyncIterator[None]:
    """Waits for the threads of SQLite's driver: one whose statement was cancelled or failed ends a little later."""
    yield
    for thread in threading.enumerate():
        if "_connection_worker_thread" in thread.name:
            await asyncio.to_thread(thread.join, _THREAD_SECONDS)


OpenWorld = Callable[..., World]


@pytest.fixture
async def open_world(address: str) -> AsyncIterator[OpenWorld]:
    """Makes pools on a database with empty tables; at the end no connection may be in use."""
    await _make_tables(address)
    opened: list[Database] = []

    def make(**more: float) -> World:
        settings = AnyDatabaseSettings.model_validate({"url": address, "lock_timeout_seconds": 1, **more})
        database = Database.connect(settings, application_name="test")
        opened.append(database)
        return World(database)

    yield make
    for database in opened:
        assert database._engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        await database.close()


@pytest.fixture
async def world(open_world: OpenWorld) -> World:
    """A pool on a database with empty tables."""
    return open_world()


async def _make_tables(address: str) -> None:
    url = make_url(address)
    engine = create_async_engine(url.set(drivername=dialect_named(url.get_backend_name()).drivername))
    async with engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
    await engine.dispose()
