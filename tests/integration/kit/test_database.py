"""Transactions, errors and the pool, on real PostgreSQL (D2, D3)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from services.kit.data.engine import connections as connections_module
from services.kit.data.engine.database import Database
from services.kit.data.errors import (
    AlreadyExists,
    Conflict,
    ConnectionFailed,
    ConstraintViolated,
    InvalidData,
    LockTimedOut,
    StillReferenced,
    TimedOut,
    TooCostly,
)
from services.kit.settings import DatabaseSettings
from tests.conftest import OpenDatabase

TABLES = """
CREATE TABLE parents (id int CONSTRAINT pk_parents PRIMARY KEY, n int CONSTRAINT ck_n CHECK (n > 0));
CREATE TABLE children (parent_id int CONSTRAINT fk_parent REFERENCES parents (id));
INSERT INTO parents VALUES (1, 1), (2, 2);
"""


@pytest.fixture
def url(fresh_database: Callable[[str], str]) -> str:
    """A database with two small tables beside those of a service."""
    address = fresh_database("customers")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(TABLES)
    return address


@pytest.fixture
async def connect(url: str) -> AsyncIterator[Callable[..., Database]]:
    """Makes pools on the database, and closes them."""
    opened: list[Database] = []

    def make(**settings: Any) -> Database:
        database = Database.connect(DatabaseSettings(url=SecretStr(url), **settings), application_name="test")
        opened.append(database)
        return database

    yield make
    for database in opened:
        assert database._engine.pool.checkedout() == 0, "a connection was not given back"  # type: ignore[attr-defined]
        await database.close()


async def run(database: Database, statement: str, *, commit: bool = False) -> Any:
    """Executes one statement in a transaction of its own."""
    async with database.transaction() as transaction:
        result = await transaction.connection.execute(text(statement))
        found = result.scalar() if result.returns_rows else None
        if commit:
            await transaction.commit()
    return found


async def test_a_transaction_is_rolled_back_unless_it_is_committed(connect: Callable[..., Database]) -> None:
    database = connect()
    await run(database, "INSERT INTO parents VALUES (3, 3)")
    assert await run(database, "SELECT count(*) FROM parents") == 2
    await run(database, "INSERT INTO parents VALUES (3, 3)", commit=True)
    assert await run(database, "SELECT count(*) FROM parents") == 3


async def test_a_database_of_one_connection_forgets_all_after_the_test(rolled_back: OpenDatabase) -> None:
    database = await rolled_back("customers")
    insert = "INSERT INTO customers (id, name, email, request_digest) VALUES (gen_random_uuid(), 'a', '{}', '')"
    await run(database, insert.format("kept@example.com"), commit=True)
    await run(database, insert.format("dropped@example.com"))
    assert await run(database, "SELECT string_agg(email, ' ') FROM customers") == "kept@example.com"
    # The next transaction works after one that failed.
    with pytest.raises(AlreadyExists):
        await run(database, insert.format("KEPT@example.com"))
    assert await run(database, "SELECT count(*) FROM customers") == 1


@pytest.mark.parametrize("_", range(2))
async def test_nothing_of_another_test_is_left_in_it(rolled_back: OpenDatabase, _: int) -> None:
    database = await rolled_back("customers")
    assert await run(database, "SELECT count(*) FROM customers") == 0
    statement = "INSERT INTO customers (id, name, email, request_digest) VALUES (gen_random_uuid(), 'a', 'x', '')"
    await run(database, statement, commit=True)


@pytest.mark.parametrize(
    ("statement", "kind", "constraint"),
    [
        ("INSERT INTO parents VALUES (1, 1)", AlreadyExists, "pk_parents"),
        ("INSERT INTO children VALUES (99)", StillReferenced, "fk_parent"),
        ("INSERT INTO parents VALUES (9, -1)", ConstraintViolated, "ck_n"),
    ],
)
async def test_a_violated_constraint_is_named(
    connect: Callable[..., Database], statement: str, kind: type[ConstraintViolated], constraint: str
) -> None:
    with pytest.raises(ConstraintViolated) as caught:
        await run(connect(), statement)
    assert (type(caught.value), caught.value.constraint) == (kind, constraint)


@pytest.mark.parametrize("statement", ["SELECT 'x'::jsonb", "SELECT 99999999999::int", "SELECT 'x'::uuid"])
async def test_a_value_that_the_database_can_not_hold_is_invalid_data(
    connect: Callable[..., Database], statement: str
) -> None:
    with pytest.raises(InvalidData):
        await run(connect(), statement)


async def test_a_statement_that_takes_too_long_is_ended(connect: Callable[..., Database]) -> None:
    database = connect(statement_timeout_seconds=0.05)
    with pytest.raises(TooCostly):
        await run(database, "SELECT pg_sleep(30)")
    assert await run(database, "SELECT 1") == 1


async def test_a_lock_that_is_not_to_be_had_is_given_up(connect: Callable[..., Database]) -> None:
    database = connect(lock_timeout_seconds=0.05)
    async with database.transaction() as first:
        await first.connection.execute(text("UPDATE parents SET n = 5 WHERE id = 1"))
        with pytest.raises(LockTimedOut):
            await run(database, "UPDATE parents SET n = 6 WHERE id = 1")


async def test_a_pool_without_a_free_connection_is_given_up(connect: Callable[..., Database]) -> None:
    database = connect(pool_size=1, max_overflow=0, pool_timeout_seconds=0.05)
    async with database.transaction():
        with pytest.raises(TimedOut):
            await run(database, "SELECT 1")
    assert await run(database, "SELECT 1") == 1


async def test_a_deadlock_is_a_conflict_for_one_of_the_two(connect: Callable[..., Database]) -> None:
    # A deadlock is looked for after a second; no lock is to be given up before.
    database = connect(lock_timeout_seconds=10)
    both = asyncio.Barrier(2)

    async def update(*ids: int) -> str:
        try:
            async with database.transaction() as transaction:
                await transaction.connection.execute(text(f"UPDATE parents SET n = n + 1 WHERE id = {ids[0]}"))
                await both.wait()
                await transaction.connection.execute(text(f"UPDATE parents SET n = n + 1 WHERE id = {ids[1]}"))
                await transaction.commit()
        except Conflict:
            return "conflict"
        return "done"

    assert sorted(await asyncio.gather(update(1, 2), update(2, 1))) == ["conflict", "done"]


async def test_a_lost_connection_is_an_error_once_and_then_replaced(connect: Callable[..., Database]) -> None:
    database = connect(pool_size=1, max_overflow=0)
    terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'test'"
    with pytest.raises(ConnectionFailed):
        await run(database, terminate)
    await run(database, "SELECT 1")


def terminate(url: str) -> None:
    """Ends the connections that the test's pool has."""
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'test'")


async def test_a_connection_that_was_lost_while_it_was_idle_is_not_noticed(
    connect: Callable[..., Database], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections_module, "_PING_AFTER_SECONDS", -1.0)
    database = connect(pool_size=1, max_overflow=0)
    await run(database, "SELECT 1")
    terminate(url)
    await run(database, "SELECT 1")


async def test_connections_that_were_lost_just_now_are_noticed_once(connect: Callable[..., Database], url: str) -> None:
    database = connect(pool_size=2, max_overflow=0)
    async with database.transaction() as one, database.transaction() as other:
        await one.connection.execute(text("SELECT 1"))
        await other.connection.execute(text("SELECT 1"))
    terminate(url)
    with pytest.raises(ConnectionFailed):
        await run(database, "SELECT 1")
    # The other one is known to be lost as well.
    async with database.transaction() as one, database.transaction() as other:
        await one.connection.execute(text("SELECT 1"))
        await other.connection.execute(text("SELECT 1"))


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    settings = DatabaseSettings(url=SecretStr("postgresql://nobody@/none?host=/nonexistent"))
    database = Database.connect(settings, application_name="test")
    with pytest.raises(ConnectionFailed):
        await database.check()
    await database.close()


async def test_a_cancelled_transaction_gives_its_connection_back(connect: Callable[..., Database]) -> None:
    database = connect(pool_size=1, max_overflow=0, pool_timeout_seconds=5)
    begun = asyncio.Event()

    async def hang() -> None:
        async with database.transaction() as transaction:
            await transaction.connection.execute(text("INSERT INTO parents VALUES (7, 7)"))
            begun.set()
            await transaction.connection.execute(text("SELECT pg_sleep(30)"))

    task = asyncio.create_task(hang())
    await begun.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert await run(database, "SELECT count(*) FROM parents") == 2


async def test_an_error_in_the_block_gives_the_connection_back(connect: Callable[..., Database]) -> None:
    database = connect(pool_size=1, max_overflow=0, pool_timeout_seconds=1)
    for _ in range(3):
        with suppress(KeyError):
            async with database.transaction() as transaction:
                await transaction.connection.execute(text("INSERT INTO parents VALUES (8, 8)"))
                raise KeyError
    assert await run(database, "SELECT count(*) FROM parents") == 2
