"""D3: each error of the data layer from the condition that causes it, on real PostgreSQL.

tests/integration/kit/test_database.py has the common ones: constraints by name, deadlock, statement and lock timeouts,
an exhausted pool, a connection that was lost. tests/unit/kit/data/test_errors.py has what can't be provoked.
"""

import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.kit.data.engine.database import Database
from services.kit.data.errors import (
    AlreadyExists,
    Conflict,
    ConnectionFailed,
    ConstraintViolated,
    DatabaseReadOnly,
    DataError,
    InvalidData,
    LockTimedOut,
    StillReferenced,
    TimedOut,
    TransactionMisused,
)
from services.kit.data.transactions.ambient import Isolation, Transaction
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.errors import DatabaseUnavailable
from services.kit.settings import DatabaseSettings

TABLES = """
CREATE TABLE rooms (
    id int CONSTRAINT pk_rooms PRIMARY KEY,
    name varchar(3) CONSTRAINT nn_name NOT NULL,
    beds smallint,
    CONSTRAINT uq_name UNIQUE (name) DEFERRABLE INITIALLY IMMEDIATE
);
CREATE TABLE stays (
    room_id int CONSTRAINT fk_room REFERENCES rooms (id) DEFERRABLE INITIALLY DEFERRED,
    days int4range,
    CONSTRAINT ex_days EXCLUDE USING gist (days WITH &&)
);
INSERT INTO rooms VALUES (1, 'one', 1), (2, 'two', 1);
INSERT INTO stays VALUES (1, '[1,5)');
"""


@dataclass(frozen=True)
class World:
    """A pool on a database with two tables, and the means to make others."""

    url: str
    transactions: SqlTransactions

    async def run(self, statement: str, parameters: dict[str, Any] | None = None, **definition: Any) -> None:
        async with self.transactions.begin(**definition) as transaction:
            await execute(transaction, statement, parameters)


async def execute(
    transaction: Transaction[AsyncConnection], statement: str, parameters: dict[str, Any] | None = None
) -> None:
    await transaction._resource.execute(text(statement), parameters)


def settings(url: str, **more: Any) -> DatabaseSettings:
    return DatabaseSettings(url=SecretStr(url), **more)


@pytest.fixture
async def world(fresh_database: Callable[[str], str]) -> AsyncIterator[World]:
    url = fresh_database("customers")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLES)
    database = Database.connect(settings(url), application_name="test")
    yield World(url, SqlTransactions(database))
    await database.close()


def is_translated(error: BaseException, kind: type[DataError]) -> None:
    """Fails if what a caller catches is another kind, or is one of the driver or of SQLAlchemy."""
    assert type(error) is kind
    assert not isinstance(error, psycopg.Error | DBAPIError)


@pytest.mark.parametrize(
    ("statement", "kind", "constraint"),
    [
        ("INSERT INTO stays VALUES (1, '[4,6)')", AlreadyExists, "ex_days"),
        ("INSERT INTO rooms (id, name) VALUES (1, 'new'), (3, 'new')", AlreadyExists, "pk_rooms"),
        ("UPDATE rooms SET name = 'two' WHERE id = 1", AlreadyExists, "uq_name"),
        # These two arise in the commit.
        ("INSERT INTO stays VALUES (9, NULL)", StillReferenced, "fk_room"),
        ("DELETE FROM rooms WHERE id = 1", StillReferenced, "fk_room"),
        # Not every version of PostgreSQL gives NOT NULL a name.
        ("INSERT INTO rooms (id) VALUES (3)", ConstraintViolated, None),
    ],
)
async def test_a_constraint_is_reported_by_kind_and_name(
    world: World, statement: str, kind: type[ConstraintViolated], constraint: str | None
) -> None:
    with pytest.raises(ConstraintViolated) as caught:
        await world.run(statement)
    is_translated(caught.value, kind)
    assert constraint is None or caught.value.constraint == constraint


@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("UPDATE rooms SET name = :value WHERE id = 1", "too long"),
        ("UPDATE rooms SET beds = :value", 70_000),
        ("UPDATE rooms SET name = :value", "\x00"),
        ("SELECT CAST(:value AS date)", "2026-02-30"),
        ("SELECT CAST(:value AS json)", "{"),
        ("SELECT 1 / CAST(:value AS int)", 0),
    ],
)
async def test_a_value_that_can_not_be_held_is_invalid_data(world: World, statement: str, value: object) -> None:
    with pytest.raises(InvalidData) as caught:
        await world.run(statement, {"value": value})
    is_translated(caught.value, InvalidData)


@pytest.mark.parametrize("isolation", [Isolation.REPEATABLE_READ, Isolation.SERIALIZABLE])
async def test_a_change_beside_an_older_snapshot_is_a_conflict(world: World, isolation: Isolation) -> None:
    with pytest.raises(Conflict) as caught:
        await change_under_a_snapshot(world, isolation)
    is_translated(caught.value, Conflict)


async def change_under_a_snapshot(world: World, isolation: Isolation) -> None:
    async with world.transactions.begin(isolation=isolation) as transaction:
        await execute(transaction, "SELECT * FROM rooms")
        with psycopg.connect(world.url, autocommit=True) as other:
            other.execute("UPDATE rooms SET beds = 2")
        await execute(transaction, "UPDATE rooms SET beds = beds + 1")


async def test_a_conflict_that_shows_only_in_the_commit_is_one(world: World) -> None:
    with pytest.raises(Conflict) as caught:
        await write_what_another_read(world)
    is_translated(caught.value, Conflict)


async def write_what_another_read(world: World) -> None:
    with psycopg.connect(world.url) as other:
        other.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        async with world.transactions.begin(isolation=Isolation.SERIALIZABLE) as transaction:
            await execute(transaction, "SELECT sum(beds) FROM rooms")
            other.execute("SELECT sum(beds) FROM rooms")
            await execute(transaction, "UPDATE rooms SET beds = 5 WHERE id = 1")
            other.execute("UPDATE rooms SET beds = 5 WHERE id = 2")
            other.commit()


async def test_a_lock_that_is_not_to_be_had_says_nothing_about_the_database(world: World) -> None:
    with psycopg.connect(world.url) as other:
        other.execute("SELECT FROM rooms WHERE id = 1 FOR UPDATE")
        with pytest.raises(LockTimedOut) as caught:
            await world.run("SELECT FROM rooms WHERE id = 1 FOR UPDATE NOWAIT")
    is_translated(caught.value, LockTimedOut)
    assert not issubclass(caught.type, DatabaseUnavailable)


async def test_a_database_that_has_become_read_only_may_be_asked_again(world: World) -> None:
    with pytest.raises(DatabaseReadOnly) as caught:
        await world.run("SET TRANSACTION READ ONLY; UPDATE rooms SET beds = 9")
    is_translated(caught.value, DatabaseReadOnly)


async def test_a_write_in_a_transaction_that_is_meant_to_be_read_only_is_a_defect(world: World) -> None:
    with pytest.raises(TransactionMisused):
        await world.run("UPDATE rooms SET beds = 9", read_only=True)


async def test_a_transaction_that_idles_too_long_has_lost_its_connection(world: World) -> None:
    with pytest.raises(ConnectionFailed) as caught:
        await idle_until_ended(world)
    is_translated(caught.value, ConnectionFailed)


async def idle_until_ended(world: World) -> None:
    async with world.transactions.begin() as transaction:
        await execute(transaction, "SET LOCAL idle_in_transaction_session_timeout = 10")
        number = (await transaction._resource.execute(text("SELECT pg_backend_pid()"))).scalar()
        with psycopg.connect(world.url, autocommit=True) as other:
            # The server returns once the session has ended, for which it waits at most 10 s.
            gone = (
                "DO $$ BEGIN FOR i IN 1..1000 LOOP"
                f" EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_get_activity({number}));"
                " PERFORM pg_sleep(0.01), pg_stat_clear_snapshot(); END LOOP; END $$"
            )
            other.execute(gone)
        await execute(transaction, "SELECT 1")


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


async def test_a_connection_that_can_not_be_opened_is_a_failed_one(world: World) -> None:
    refused = f"postgresql://nobody:secret@127.0.0.1:{unused_port()}/none"
    missing = world.url.replace("/customers_", "/missing_")
    unknown_host = "postgresql://nobody:secret@no.invalid/none"
    for url in (refused, missing, unknown_host):
        database = Database.connect(settings(url), application_name="test")
        with pytest.raises(ConnectionFailed) as caught:
            await database.check()
        is_translated(caught.value, ConnectionFailed)
        assert "secret" not in str(caught.value)
        await database.close()


async def test_a_server_that_does_not_respond_is_a_timeout() -> None:
    # The kernel accepts the connection, and nobody ever says a word on it.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none"
        database = Database.connect(settings(url, connect_timeout_seconds=2), application_name="test")
        with pytest.raises(TimedOut) as caught:
            await database.check()
        is_translated(caught.value, TimedOut)
        await database.close()


async def test_an_error_that_is_a_defect_is_not_taken_for_a_condition(world: World) -> None:
    with pytest.raises(DBAPIError) as caught:
        await world.run("SELEC 1")
    assert not isinstance(caught.value, DataError)
