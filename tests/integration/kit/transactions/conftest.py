"""Fixtures for the tests of transactions."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.settings import DatabaseSettings
from tests.integration.kit.transactions.notes import Notes


@pytest.fixture
async def open_notes(fresh_database: Callable[[str], str]) -> AsyncIterator[Callable[..., Notes]]:
    """Makes pools on a database with a table of notes; at the end no connection may be in use."""
    url = fresh_database("customers")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE notes (note text CONSTRAINT pk_notes PRIMARY KEY)")
    opened: list[Database] = []

    def make(**settings: Any) -> Notes:
        database = Database.connect(DatabaseSettings(url=SecretStr(url), **settings), application_name="test")
        opened.append(database)
        return Notes(SqlTransactions(database), url)

    yield make
    for database in opened:
        assert database._engine.pool.checkedout() == 0, "a connection was not given back"  # type: ignore[attr-defined]
        await database.close()


@pytest.fixture
def notes(open_notes: Callable[..., Notes]) -> Notes:
    return open_notes()
