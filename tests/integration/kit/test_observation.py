"""D10: slow statements in the log, and what the pool and the statements do as metrics, on real PostgreSQL."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import structlog
from prometheus_client import REGISTRY
from pydantic import SecretStr
from sqlalchemy import column, delete, select, table, text, update

from services.kit.data.engine.database import Database
from services.kit.data.errors import TimedOut
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.settings import DatabaseSettings

DATABASE = "observed"


@pytest.fixture
async def connect(fresh_database: Callable[[str], str]) -> AsyncIterator[Callable[..., Database]]:
    """Create pools on a database, and closes them."""
    url = SecretStr(fresh_database("customers"))
    opened: list[Database] = []

    def make(**settings: Any) -> Database:
        opened.append(Database.connect(DatabaseSettings(url=url, **settings), application_name=DATABASE))
        return opened[-1]

    yield make
    for database in opened:
        await database.close()


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"innosystem_db_{name}", {"database": DATABASE, **labels}) or 0


async def run(database: Database, statement: str, **parameters: object) -> None:
    async with SqlTransactions(database).begin() as transaction:
        await transaction._resource.execute(text(statement), parameters)


async def test_a_slow_statement_is_logged_without_its_parameters(connect: Callable[..., Database]) -> None:
    database = connect(slow_query_seconds=0.05)
    before = sample("slow_queries_total")
    with structlog.testing.capture_logs() as lines:
        await run(database, "SELECT pg_sleep(0.1), CAST(:secret AS text)", secret="hunter2")
        await run(database, "SELECT 1")
    [line] = [line for line in lines if line["event"] == "slow_query"]
    assert line["duration_ms"] >= 100
    assert "pg_sleep" in line["statement"]
    assert "hunter2" not in str(line)
    assert sample("slow_queries_total") == before + 1


async def test_statements_are_timed_by_what_they_do(connect: Callable[..., Database]) -> None:
    database = connect()
    before = {
        operation: sample("statement_duration_seconds_count", operation=operation)
        for operation in ("select", "delete", "other")
    }
    await run(database, "SELECT 1")
    await run(database, "DELETE FROM customers")
    await run(database, "SET LOCAL work_mem = '1MB'")
    for operation, count in before.items():
        assert sample("statement_duration_seconds_count", operation=operation) == count + 1


async def test_the_use_of_the_pool_is_seen_and_a_full_one_is_counted(connect: Callable[..., Database]) -> None:
    database = connect(pool_size=1, max_overflow=0, pool_timeout_seconds=0.05)
    timeouts, waits = sample("connection_timeouts_total"), sample("connection_wait_seconds_count")
    async with database.transaction():
        assert sample("pool_checked_out") == 1
        with pytest.raises(TimedOut):
            await run(database, "SELECT 1")
    assert sample("pool_checked_out") == 0
    assert sample("connection_timeouts_total") == timeouts + 1
    assert sample("connection_wait_seconds_count") == waits + 2


async def test_connections_are_counted_as_they_come_and_go(connect: Callable[..., Database]) -> None:
    opened, closed = sample("connections_opened_total"), sample("connections_closed_total")
    database = connect()
    await run(database, "SELECT 1")
    assert sample("connections_opened_total") == opened + 1
    await database.close()
    assert sample("connections_closed_total") == closed + 1


async def test_a_slow_line_tells_of_which_request_and_transaction_it_is_and_how_many_rows_came(
    connect: Callable[..., Database],
) -> None:
    database = connect(slow_query_seconds=0.000001)
    kept_in_context = [structlog.contextvars.merge_contextvars]
    statement = f"SELECT generate_series(1, 3) /* {'long ' * 1000} */"
    with (
        structlog.testing.capture_logs(kept_in_context) as lines,
        structlog.contextvars.bound_contextvars(request_id="r-1"),
    ):
        async with SqlTransactions(database).begin() as transaction:
            await transaction._resource.execute(text(statement))
    [line] = [line for line in lines if line["event"] == "slow_query"]
    assert (line["request_id"], line["transaction_id"]) == ("r-1", transaction.id)
    assert (line["database"], line["operation"], line["rows"]) == (DATABASE, "select", 3)
    assert line["statement"] == statement[:2000]


async def test_a_statement_that_is_ended_by_its_timeout_is_a_slow_one(connect: Callable[..., Database]) -> None:
    database = connect(slow_query_seconds=0.02, statement_timeout_seconds=0.05)
    before = sample("statement_duration_seconds_count", operation="select")
    with structlog.testing.capture_logs() as lines, pytest.raises(TimedOut):
        await run(database, "SELECT pg_sleep(20)")
    [line] = [line for line in lines if line["event"] == "slow_query"]
    assert (line["error"], line["rows"]) == ("QueryCanceled", None)
    assert sample("statement_duration_seconds_count", operation="select") == before + 1


async def test_a_statement_whose_caller_gives_up_is_a_slow_one_and_its_connection_is_replaced(
    connect: Callable[..., Database],
) -> None:
    database = connect(slow_query_seconds=0.02)
    before = sample("connections_invalidated_total")
    with structlog.testing.capture_logs() as lines, pytest.raises(TimedOut):
        async with SqlTransactions(database).begin(timeout_seconds=0.1) as transaction:
            await transaction._resource.execute(text("SELECT pg_sleep(20)"))
    [line] = [line for line in lines if line["event"] == "slow_query"]
    assert line["error"] == "CancelledError"
    assert sample("connections_invalidated_total") == before + 1


async def test_a_statement_that_begins_with_a_common_table_expression_is_counted_as_what_it_does(
    connect: Callable[..., Database],
) -> None:
    database = connect()
    customers = table("customers", column("name"))
    picked = select(customers.c.name).cte("picked")
    statements = {
        "select": select(picked.c.name),
        "update": update(customers).values(name="x").where(customers.c.name == picked.c.name),
        "delete": delete(customers).where(customers.c.name == picked.c.name),
    }
    for operation, statement in statements.items():
        before = sample("statement_duration_seconds_count", operation=operation)
        async with SqlTransactions(database).begin() as transaction:
            await transaction._resource.execute(statement)
        assert sample("statement_duration_seconds_count", operation=operation) == before + 1


async def test_connections_beyond_the_pool_are_seen_while_they_are_open(connect: Callable[..., Database]) -> None:
    database = connect(pool_size=1, max_overflow=2)
    # Pools of other tests that nobody has collected yet count as well.
    assert sample("pool_size") >= 1
    assert sample("pool_overflow") == 0
    async with database.transaction(), database.transaction():
        assert (sample("pool_checked_out"), sample("pool_overflow")) == (2, 1)
    assert (sample("pool_checked_out"), sample("pool_overflow")) == (0, 0)


async def test_a_pool_is_observed_after_it_was_closed_and_used_again(connect: Callable[..., Database]) -> None:
    database = connect()
    await run(database, "SELECT 1")
    await database.close()
    opened, waits = sample("connections_opened_total"), sample("connection_wait_seconds_count")
    await run(database, "SELECT 1")
    assert sample("connections_opened_total") == opened + 1
    assert sample("connection_wait_seconds_count") == waits + 1
