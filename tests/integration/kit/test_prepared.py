"""Prepared statements, which the driver executes itself, fail and are observed as those of SQLAlchemy."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import structlog
from prometheus_client import REGISTRY
from pydantic import SecretStr
from sqlalchemy import Uuid, bindparam, delete, insert, select, text, update

from services.customers.store.tables import customers
from services.kit.data.array_parameters import any_of
from services.kit.data.engine.database import Database
from services.kit.data.engine.prepared import Prepared
from services.kit.data.errors import (
    AlreadyExists,
    CommitUnknown,
    ConnectionFailed,
    SchemaBehind,
    TimedOut,
    UnexpectedRollback,
)
from services.kit.data.transactions.ambient import Propagation
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.settings import DatabaseSettings

DATABASE = "prepared"

SLEEP = Prepared(text("SELECT pg_sleep(:seconds)"))
PID = Prepared(text("SELECT pg_backend_pid()"))
ADD = Prepared(
    insert(customers).values(id=bindparam("customer"), name="Ada", email=bindparam("address"), request_digest=b"")
)
COUNT = Prepared(select(customers.c.id).where(customers.c.id == any_of("ids", Uuid)))


@pytest.fixture
def url(fresh_database: Callable[[str], str]) -> str:
    return fresh_database("customers")


@pytest.fixture
async def connect(url: str) -> AsyncIterator[Callable[..., SqlTransactions]]:
    """Makes pools on a database, and closes them."""
    opened: list[Database] = []

    def make(**settings: Any) -> SqlTransactions:
        opened.append(Database.connect(DatabaseSettings(url=SecretStr(url), **settings), application_name=DATABASE))
        return SqlTransactions(opened[-1])

    yield make
    for database in opened:
        await database.close()


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"innosystem_db_{name}", {"database": DATABASE, **labels}) or 0


def end(url: str, pid: int) -> None:
    """Ends a connection from the server's side, and waits until it is gone."""
    with psycopg.connect(url) as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


async def pid_of(transactions: SqlTransactions) -> int:
    [(pid,)] = await transactions.execute(PID, {})
    return int(pid)


def test_a_parameter_that_is_missing_is_named() -> None:
    with pytest.raises(KeyError, match="seconds"):
        SLEEP.bound({})


@pytest.mark.parametrize(
    ("statement", "operation"),
    [
        (select(customers.c.id), "select"),
        (insert(customers), "insert"),
        (update(customers).values(name="Ada"), "update"),
        (delete(customers), "delete"),
        (text("SELECT 1"), "other"),
    ],
)
def test_what_a_statement_does_is_known(statement: Any, operation: str) -> None:
    assert Prepared(statement).operation == operation


async def test_what_is_written_is_committed_with_the_transaction(connect: Callable[..., SqlTransactions]) -> None:
    transactions = connect()
    kept, taken_back = uuid4(), uuid4()
    async with transactions.begin():
        assert await transactions.execute(ADD, {"customer": kept, "address": "kept@example.com"}) == ()
    async with transactions.begin() as transaction:
        await transactions.execute(ADD, {"customer": taken_back, "address": "back@example.com"})
        transaction.roll_back()
    async with transactions.begin():
        assert await transactions.execute(COUNT, {"ids": [kept, taken_back]}) == [(kept,)]


async def test_a_constraint_that_refuses_is_named_and_the_connection_is_used_on(
    connect: Callable[..., SqlTransactions],
) -> None:
    transactions = connect(pool_size=1, max_overflow=0)
    parameters = {"customer": uuid4(), "address": "ada@example.com"}
    async with transactions.begin():
        pid = await pid_of(transactions)
        await transactions.execute(ADD, parameters)
    with pytest.raises(AlreadyExists) as caught:
        async with transactions.begin():
            await transactions.execute(ADD, parameters)
    assert caught.value.constraint == "pk_customers"
    async with transactions.begin():
        assert await pid_of(transactions) == pid


async def test_a_failure_that_is_swallowed_takes_the_transaction_back(connect: Callable[..., SqlTransactions]) -> None:
    transactions = connect()
    customer = uuid4()

    async def swallow() -> None:
        async with transactions.begin():
            await transactions.execute(ADD, {"customer": customer, "address": "ada@example.com"})
            with pytest.raises(AlreadyExists):
                await transactions.execute(ADD, {"customer": customer, "address": "ada@example.com"})

    with pytest.raises(UnexpectedRollback):
        await swallow()
    async with transactions.begin():
        assert await transactions.execute(COUNT, {"ids": [customer]}) == []


async def test_a_statement_that_takes_too_long_is_given_up(connect: Callable[..., SqlTransactions]) -> None:
    transactions = connect(statement_timeout_seconds=0.05)
    with pytest.raises(TimedOut):
        async with transactions.begin():
            await transactions.execute(SLEEP, {"seconds": 30})


async def test_a_table_that_is_missing_says_that_the_schema_is_behind(connect: Callable[..., SqlTransactions]) -> None:
    transactions = connect()
    with pytest.raises(SchemaBehind):
        async with transactions.begin():
            await transactions.execute(Prepared(text("SELECT * FROM nothing_of_the_kind")), {})


async def test_a_connection_that_is_lost_is_replaced_with_all_that_are_idle(
    url: str, connect: Callable[..., SqlTransactions]
) -> None:
    transactions = connect(pool_size=2, max_overflow=0)
    async with transactions.begin():
        first = await pid_of(transactions)
        async with transactions.begin(Propagation.REQUIRES_NEW):
            other = await pid_of(transactions)
    with pytest.raises(ConnectionFailed):
        await ended_within(url, transactions, lambda: transactions.execute(PID, {}))
    async with transactions.begin():
        assert await pid_of(transactions) not in {first, other}


async def ended_within(url: str, transactions: SqlTransactions, then: Callable[[], Awaitable[object]]) -> None:
    """Begins a transaction, whose connection ends, and continues."""
    async with transactions.begin():
        pid = await pid_of(transactions)
        await asyncio.to_thread(end, url, pid)
        await then()


async def in_transaction(transactions: SqlTransactions) -> int:
    async with transactions.begin():
        return await pid_of(transactions)


async def test_a_connection_that_is_lost_before_the_commit_leaves_the_outcome_unknown(
    url: str, connect: Callable[..., SqlTransactions]
) -> None:
    transactions = connect(pool_size=1, max_overflow=0)
    before = await in_transaction(transactions)
    with pytest.raises(CommitUnknown):
        await ended_within(url, transactions, lambda: asyncio.sleep(0))
    assert await in_transaction(transactions) != before


async def test_a_statement_that_is_cancelled_gives_its_connection_up(
    url: str, connect: Callable[..., SqlTransactions]
) -> None:
    transactions = connect(pool_size=1, max_overflow=0)
    began: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def sleep() -> None:
        async with transactions.begin():
            began.set_result(await pid_of(transactions))
            await transactions.execute(SLEEP, {"seconds": 30})

    before = sample("connections_invalidated_total")
    task = asyncio.create_task(sleep())
    pid = await began
    await asyncio.to_thread(until_sleeping, url, pid)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sample("connections_invalidated_total") == before + 1
    assert await in_transaction(transactions) != pid


def until_sleeping(url: str, pid: int) -> None:
    """Waits until a connection runs its statement; the server polls."""
    with psycopg.connect(url, autocommit=True) as connection:
        looked = """
            DO $$ BEGIN
                FOR attempt IN 1..1000 LOOP
                    PERFORM pg_stat_clear_snapshot();
                    IF EXISTS (SELECT FROM pg_stat_activity WHERE pid = {} AND wait_event = 'PgSleep') THEN
                        RETURN;
                    END IF;
                    PERFORM pg_sleep(0.01);
                END LOOP;
                RAISE 'it does not sleep';
            END $$
        """
        connection.execute(looked.format(pid))


async def test_it_is_timed_and_logged_when_it_is_slow(connect: Callable[..., SqlTransactions]) -> None:
    transactions = connect(slow_query_seconds=0.05)
    before = sample("statement_duration_seconds_count", operation="other")
    slow = sample("slow_queries_total")
    with structlog.testing.capture_logs() as lines:
        async with transactions.begin():
            await transactions.execute(SLEEP, {"seconds": 0.1})
            await transactions.execute(PID, {})
    [line] = [line for line in lines if line["event"] == "slow_query"]
    assert line["duration_ms"] >= 100
    assert "pg_sleep" in line["statement"]
    assert line["rows"] == 1
    assert sample("statement_duration_seconds_count", operation="other") == before + 2
    assert sample("slow_queries_total") == slow + 1
