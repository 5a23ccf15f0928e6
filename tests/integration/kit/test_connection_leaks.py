"""D2: whatever becomes of a transaction, its connection is free again, in the pool and on the server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from functools import partial
from typing import Any

import psycopg
import pytest
import structlog
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.kit.data.engine.database import Database
from services.kit.data.errors import (
    AlreadyExists,
    CommitUnknown,
    ConnectionFailed,
    DataError,
    PoolExhausted,
    StillReferenced,
    TimedOut,
)
from services.kit.data.transactions.ambient import Isolation, Propagation, Transaction
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.settings import DatabaseSettings
from tests.support.until import until

TABLES = """
CREATE TABLE notes (
    id int CONSTRAINT pk_notes PRIMARY KEY,
    reply_to int CONSTRAINT fk_reply REFERENCES notes (id) DEFERRABLE INITIALLY DEFERRED
);
"""
WAIT_SECONDS = 20
SIZE = 2

Work = Callable[[SqlTransactions], Coroutine[Any, Any, None]]
Open = Callable[..., SqlTransactions]


async def execute(transaction: Transaction[AsyncConnection], statement: str) -> None:
    await transaction._resource.execute(text(statement))


@pytest.fixture
async def connect(fresh_database: Callable[[str], str]) -> AsyncIterator[Open]:
    """Makes pools on a database of two small tables. At the end each of them must be as good as new."""
    url = fresh_database("customers")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLES)
    opened: list[Database] = []

    def make(**settings: Any) -> SqlTransactions:
        limits = {"pool_size": SIZE, "pool_timeout_seconds": 0.1, **settings}
        database = Database.connect(DatabaseSettings(url=SecretStr(url), **limits), application_name="leaky")
        opened.append(database)
        return SqlTransactions(database)

    yield make
    for database in opened:
        await is_whole(database, url)
        await database.close()


async def is_whole(database: Database, url: str) -> None:
    """Fails if a connection is in use, a transaction is open, or fewer connections than before can be had."""
    pool: Any = database._engine.pool
    await until(lambda: pool.checkedout() == 0, WAIT_SECONDS)
    with psycopg.connect(url, autocommit=True) as server:
        busy = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'leaky' AND state <> 'idle'"
        await until(lambda: server.execute(busy).fetchone() == (0,), WAIT_SECONDS)
    await use_all(database)


async def use_all(database: Database) -> None:
    """Uses all connections of the pool at the same time."""
    together = asyncio.Barrier(SIZE)

    async def use() -> None:
        async with database.transaction() as transaction:
            await transaction.connection.execute(text("SELECT 1"))
            await asyncio.wait_for(together.wait(), WAIT_SECONDS)

    await asyncio.gather(*(use() for _ in range(SIZE)))


# Errors and timeouts.


async def fails_in_python(transactions: SqlTransactions) -> None:
    async with transactions.begin() as transaction:
        await execute(transaction, "INSERT INTO notes VALUES (1)")
        raise KeyError


async def fails_in_a_statement(transactions: SqlTransactions) -> None:
    async with transactions.begin() as transaction:
        await execute(transaction, "INSERT INTO notes VALUES (1), (1)")


async def fails_in_the_commit(transactions: SqlTransactions) -> None:
    async with transactions.begin() as transaction:
        await execute(transaction, "INSERT INTO notes VALUES (1, 2)")


async def fails_in_a_savepoint(transactions: SqlTransactions) -> None:
    async with transactions.begin():
        await nested(transactions, "INSERT INTO notes VALUES (1), (1)")


async def loses_its_connection(transactions: SqlTransactions) -> None:
    async with transactions.begin() as transaction:
        await execute(transaction, "SELECT pg_terminate_backend(pg_backend_pid())")


async def loses_its_connection_before_the_commit(transactions: SqlTransactions) -> None:
    async with transactions.begin() as transaction:
        await execute(transaction, "DELETE FROM notes")
        driver: Any = (await transaction._resource.get_raw_connection()).driver_connection
        address, backend = driver.info.dsn, driver.info.backend_pid
        with psycopg.connect(address, password=driver.info.password, autocommit=True) as other:
            # Waits until it has ended.
            other.execute("SELECT pg_terminate_backend(%s, 10000)", [backend])


async def takes_too_long_in_a_statement(transactions: SqlTransactions) -> None:
    async with transactions.begin() as transaction:
        await execute(transaction, "SET LOCAL statement_timeout = 10")
        await execute(transaction, f"SELECT pg_sleep({WAIT_SECONDS})")


async def takes_too_long_in_all(transactions: SqlTransactions) -> None:
    async with transactions.begin(timeout_seconds=0.05) as transaction:
        await execute(transaction, f"SELECT pg_sleep({WAIT_SECONDS})")


async def waits_for_a_connection_in_vain(transactions: SqlTransactions) -> None:
    database = transactions._database
    async with database.transaction(), database.transaction(), transactions.begin():
        pytest.fail("there are two connections")


async def needs_a_third_connection(transactions: SqlTransactions) -> None:
    new = Propagation.REQUIRES_NEW
    async with transactions.begin(), transactions.begin(new), transactions.begin(new):
        pytest.fail("there are two connections")


async def nested(transactions: SqlTransactions, statement: str) -> None:
    async with transactions.begin(Propagation.NESTED) as transaction:
        await execute(transaction, statement)


@pytest.mark.parametrize(
    ("work", "kind"),
    [
        (fails_in_python, KeyError),
        (fails_in_a_statement, AlreadyExists),
        (fails_in_the_commit, StillReferenced),
        (fails_in_a_savepoint, AlreadyExists),
        (loses_its_connection, ConnectionFailed),
        (loses_its_connection_before_the_commit, CommitUnknown),
        (takes_too_long_in_a_statement, TimedOut),
        (takes_too_long_in_all, TimedOut),
        (waits_for_a_connection_in_vain, TimedOut),
        (needs_a_third_connection, PoolExhausted),
    ],
)
async def test_a_transaction_that_fails_gives_its_connection_back(
    connect: Open, work: Work, kind: type[Exception]
) -> None:
    transactions = connect()
    # More often than there are connections, so that one that is lost is missed.
    for _ in range(SIZE + 1):
        with pytest.raises(kind):
            await work(transactions)


async def test_connections_that_can_not_be_opened_take_no_places_in_the_pool(
    fresh_database: Callable[[str], str],
) -> None:
    url = SecretStr(fresh_database("customers").replace("customers_", "missing_"))
    database = Database.connect(
        DatabaseSettings(url=url, pool_size=1, pool_timeout_seconds=0.1), application_name="leaky"
    )
    for _ in range(3):
        with pytest.raises(ConnectionFailed):
            await fails_in_python(SqlTransactions(database))
    await database.close()


# Cancellation.


class CancelledAt:
    """Awaits some work, and cancels its task while it waits for the nth time; `reached` if it came so far."""

    def __init__(self, work: Coroutine[Any, Any, None], *steps: int) -> None:
        self._work = work
        self._steps = steps
        self.reached = False

    def __await__(self) -> Generator[Any, Any, None]:
        task = asyncio.current_task()
        assert task is not None
        go_on = partial(self._work.send, None)
        step = 0
        while True:
            try:
                waits_for = go_on()
            except StopIteration:
                return
            step += 1
            if step in self._steps:
                self.reached = step == self._steps[-1]
                task.cancel()
            try:
                yield waits_for
            except BaseException as error:  # noqa: BLE001 - the work raises it, of any class
                go_on = partial(self._work.throw, error)
            else:
                go_on = partial(self._work.send, None)


async def cancel_at(work: Coroutine[Any, Any, None], *steps: int) -> bool:
    """Runs work that is cancelled at each of the steps, and returns whether it came so far."""
    cancelled = CancelledAt(work, *steps)

    async def run() -> None:
        try:
            await cancelled
        finally:
            assert structlog.contextvars.get_contextvars() == {}, "the transaction's ID outlived it"

    # A cancellation while a commit is under way may end as an unknown outcome.
    with suppress(asyncio.CancelledError, DataError):
        await asyncio.create_task(run())
    return cancelled.reached


async def writes(transactions: SqlTransactions) -> None:
    async with transactions.begin() as transaction:
        await execute(transaction, "INSERT INTO notes VALUES (1)")
        await execute(transaction, "DELETE FROM notes")


async def writes_in_a_savepoint(transactions: SqlTransactions) -> None:
    async with transactions.begin():
        await nested(transactions, "DELETE FROM notes")


async def writes_beside_an_open_transaction(transactions: SqlTransactions) -> None:
    async with transactions.begin(), transactions.begin(Propagation.REQUIRES_NEW) as transaction:
        await execute(transaction, "DELETE FROM notes")


async def writes_without_a_transaction(transactions: SqlTransactions) -> None:
    async with transactions.begin(Propagation.NOT_SUPPORTED) as transaction:
        await execute(transaction, "DELETE FROM notes")


async def fails_quietly(transactions: SqlTransactions) -> None:
    with suppress(AlreadyExists):
        await fails_in_a_statement(transactions)


WORKS = [writes, writes_in_a_savepoint, writes_beside_an_open_transaction, writes_without_a_transaction, fails_quietly]


async def each_step(attempt: Callable[[int], Awaitable[bool]]) -> int:
    """Tries the first await, the second, and so on, until the work ends before; returns how many there were."""
    step = 1
    while await attempt(step):
        step += 1
    return step - 1


@pytest.mark.parametrize("again", [None, 1, 2], ids=["once", "immediately again", "a little later again"])
@pytest.mark.parametrize("work", WORKS)
async def test_a_cancelled_transaction_gives_its_connection_back_at_whichever_await_it_was(
    connect: Open, work: Work, again: int | None
) -> None:
    transactions = connect()
    await work(transactions)

    async def attempt(step: int) -> bool:
        steps = (step,) if again is None else (step, step + again)
        reached = await cancel_at(work(transactions), *steps)
        # Half an attempt counts: the second cancellation may come after the end.
        return reached or (again is not None and await cancel_at(work(transactions), step))

    # At least the statement, and giving the connection back.
    assert await each_step(attempt) >= 2


async def test_a_cancellation_while_a_connection_is_opened_takes_no_place_in_the_pool(connect: Open) -> None:
    async def attempt(step: int) -> bool:
        return await cancel_at(writes(connect()), step)

    assert await each_step(attempt) >= 5


async def test_a_cancellation_while_waiting_for_a_connection_takes_no_place_in_the_pool(connect: Open) -> None:
    transactions = connect(pool_timeout_seconds=WAIT_SECONDS)
    database = transactions._database
    async with database.transaction(), database.transaction():
        waiting = [asyncio.create_task(writes(transactions)) for _ in range(5)]
        await asyncio.sleep(0)
        for task in waiting[:-1]:
            task.cancel()
        await asyncio.wait(waiting[:-1])
    await asyncio.wait_for(waiting[-1], WAIT_SECONDS)


async def test_a_crowd_that_is_cancelled_at_different_awaits_leaves_the_pool_as_it_was(connect: Open) -> None:
    transactions = connect(pool_timeout_seconds=WAIT_SECONDS)
    # Those who wait for a connection are not told when opening one is cancelled: they wait until one is given back.
    await use_all(transactions._database)
    works = (writes, writes_in_a_savepoint, fails_quietly)
    crowd = [cancel_at(work(transactions), step) for step in range(1, 12) for work in works]
    await asyncio.wait_for(asyncio.gather(*crowd), WAIT_SECONDS)


@pytest.mark.parametrize(
    "begun",
    [{"read_only": True}, {"isolation": Isolation.REPEATABLE_READ}, {"propagation": Propagation.SUPPORTS}],
    ids=["read-only", "isolation", "without"],
)
async def test_a_block_that_is_cancelled_as_it_begins_leaves_nothing_of_it_to_the_next_one(
    connect: Open, begun: dict[str, Any]
) -> None:
    transactions = connect(pool_timeout_seconds=WAIT_SECONDS)

    async def interrupted() -> None:
        async with transactions.begin(**begun) as transaction:
            await execute(transaction, "SELECT 1")

    async def next_one() -> list[object]:
        async with transactions.begin() as transaction:
            settings = "current_setting('transaction_read_only'), current_setting('transaction_isolation')"
            [found] = await transaction._resource.execute(text(f"SELECT {settings}, pg_current_xact_id()::text"))
            [again] = await transaction._resource.execute(text("SELECT pg_current_xact_id()::text"))
            # Two statements of one transaction have the same ID, and of none two.
            return [*found[:2], found[2] == again[0]]

    # Steps of the loop, not time: each place where it can be interrupted is met several times.
    for steps in [*range(20)] * 5:
        task = asyncio.create_task(interrupted())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert await next_one() == ["off", "read committed", True], steps
