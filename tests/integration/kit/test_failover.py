"""A database behind an address that moves, that takes no changes for a while, or that nobody can reach."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, LiteralString

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from structlog.testing import capture_logs

from services.kit.data.engine.database import Database
from services.kit.data.engine.prepared import Prepared
from services.kit.data.errors import ConnectionFailed, DatabaseReadOnly, SchemaBehind, StatementOutdated
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.data.transactions.transactional import transactional
from services.kit.settings import DatabaseSettings
from tools.local.embedded import EmbeddedPostgres

_SERVER = {"fsync": "off", "max_connections": "40", "shared_buffers": "16MB"}


class Address:
    """An address that leads to one of two servers: a link to the folder of its socket."""

    def __init__(self, folder: Path, servers: tuple[EmbeddedPostgres, EmbeddedPostgres]) -> None:
        self._link = folder / "address"
        self.old, self.new = servers
        self.move_to(self.old)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/things?host={self._link}"

    def move_to(self, server: EmbeddedPostgres) -> None:
        incoming = self._link.with_name("incoming")
        incoming.symlink_to(server._socket_folder())
        incoming.replace(self._link)

    def execute(self, server: EmbeddedPostgres, *statements: LiteralString) -> None:
        with psycopg.connect(server.url("things"), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def count(self, server: EmbeddedPostgres) -> Any:
        with psycopg.connect(server.url("things")) as connection:
            return connection.execute("SELECT count(*) FROM things").fetchall()[0][0]

    def demote(self, server: EmbeddedPostgres, *, read_only: bool = True) -> None:
        """Has a server refuse changes, on connections that are open as well."""
        value: LiteralString = "on" if read_only else "off"
        self.execute(server, "ALTER SYSTEM SET default_transaction_read_only = " + value, "SELECT pg_reload_conf()")
        with psycopg.connect(server.url("things"), autocommit=True) as connection:
            while connection.execute("SHOW default_transaction_read_only").fetchone() != (value,):
                pass


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[EmbeddedPostgres, EmbeddedPostgres]]:
    with TemporaryDirectory(prefix="innosystem-failover-") as name:
        first, second = (EmbeddedPostgres(Path(name) / one, _SERVER) for one in ("first", "second"))
        with first, second:
            for server in (first, second):
                server.create_database("things")
            yield first, second


@pytest.fixture
def address(servers: tuple[EmbeddedPostgres, EmbeddedPostgres], tmp_path: Path) -> Iterator[Address]:
    with TemporaryDirectory(prefix="innosystem-") as name:
        moving = Address(Path(name), servers)
        for server in servers:
            moving.execute(server, "DROP TABLE IF EXISTS things", "CREATE TABLE things (id int, note text)")
        yield moving
        for server in servers:
            moving.demote(server, read_only=False)


Connect = Callable[..., Database]


@pytest.fixture
async def connect(address: Address) -> AsyncIterator[Connect]:
    opened: list[Database] = []

    def make(**settings: Any) -> Database:
        url = SecretStr(settings.pop("url", address.url))
        opened.append(Database.connect(DatabaseSettings(url=url, **settings), application_name="test"))
        return opened[-1]

    yield make
    for database in opened:
        await database.close()


async def write(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.connection.execute(text("INSERT INTO things VALUES (1, 'a')"))
        await database.commit(transaction)


async def test_after_a_failover_one_write_fails_and_all_connections_lead_to_the_new_server(
    connect: Connect, address: Address
) -> None:
    database = connect(pool_size=4)
    async with database.transaction(), database.transaction(), database.transaction():
        pass
    await write(database)
    address.move_to(address.new)
    address.demote(address.old)
    with pytest.raises(DatabaseReadOnly):
        await write(database)
    await asyncio.gather(*(write(database) for _ in range(4)))
    assert address.count(address.old) == 1
    assert address.count(address.new) == 4


async def test_a_statement_that_is_prepared_follows_as_well(connect: Connect, address: Address) -> None:
    database = connect(pool_size=1)
    insert = Prepared(text("INSERT INTO things (id) VALUES (1)"))

    async def put() -> None:
        async with database.transaction() as transaction:
            await database.execute(transaction.connection, insert, {})
            await database.commit(transaction)

    for _ in range(6):
        await put()
    address.move_to(address.new)
    address.demote(address.old)
    with pytest.raises(DatabaseReadOnly):
        await put()
    await put()


async def test_a_server_that_takes_no_changes_is_no_server(connect: Connect, address: Address) -> None:
    address.demote(address.old)
    database = connect()
    for ask in (database.check, lambda: write(database)):
        with pytest.raises(ConnectionFailed) as caught:
            await ask()
        assert "session is read-only" in str(caught.value.__cause__)
    address.move_to(address.new)
    await database.check()
    await write(database)


async def test_health_fails_when_a_server_begins_to_refuse_changes_and_passes_where_the_address_leads(
    connect: Connect, address: Address
) -> None:
    database = connect()
    await database.check()
    address.demote(address.old)
    with pytest.raises(DatabaseReadOnly):
        await database.check()
    address.move_to(address.new)
    await database.check()


async def test_a_transaction_that_was_asked_to_be_read_only_costs_no_connection(connect: Connect) -> None:
    database = connect(pool_size=1)
    numbers = set()
    for _ in range(2):
        async with database.transaction(read_only=True) as transaction:
            numbers.add(await transaction.connection.scalar(text("SELECT pg_backend_pid()")))
            with pytest.raises(DatabaseReadOnly):
                await transaction.connection.execute(text("DELETE FROM things"))
    assert len(numbers) == 1


async def test_a_busy_pool_is_not_an_unavailable_database(connect: Connect) -> None:
    database = connect(pool_size=2, pool_timeout_seconds=60)
    async with database.transaction(), database.transaction():
        async with asyncio.timeout(10):
            await database.check()


async def test_why_a_database_can_not_be_reached_is_logged_once_and_again_when_that_changes(
    connect: Connect, address: Address
) -> None:
    secret = "opensesame"
    url = address.url.replace("postgres@/things", f"postgres:{secret}@/elsewhere")
    database = connect(url=url)
    with capture_logs() as lines:
        for _ in range(3):
            with pytest.raises(ConnectionFailed):
                await database.check()
        address.execute(address.old, "CREATE DATABASE elsewhere")
        await database.check()
    [down, up] = [line for line in lines if line["event"].startswith("database")]
    assert (down["event"], up["event"]) == ("database_unreachable", "database_reached")
    assert 'database "elsewhere" does not exist' in down["error"]
    assert down["database"] == "elsewhere"
    assert down["host"].endswith("/address")
    assert secret not in str(lines)


class Reader:
    def __init__(self, database: Database, statement: Prepared) -> None:
        self.transactions = SqlTransactions(database)
        self._statement = statement

    @transactional(read_only=True)
    async def read(self) -> Any:
        return await self.transactions.execute(self._statement, {})

    @transactional()
    async def change(self) -> Any:
        return await self.transactions.execute(self._statement, {})


async def test_a_statement_prepared_before_a_type_changed_is_repeated_by_who_reads(
    connect: Connect, address: Address
) -> None:
    reader = Reader(connect(pool_size=1), Prepared(text("SELECT id, note FROM things")))
    for _ in range(6):
        await reader.read()
    address.execute(address.old, "ALTER TABLE things ALTER id TYPE bigint")
    await reader.read()


async def test_it_is_a_conflict_for_who_writes_and_the_next_one_gets_through(
    connect: Connect, address: Address
) -> None:
    writer = Reader(connect(pool_size=1), Prepared(text("INSERT INTO things VALUES (1, 'a') RETURNING id")))
    for _ in range(6):
        await writer.change()
    address.execute(address.old, "ALTER TABLE things ALTER id TYPE bigint")
    with pytest.raises(StatementOutdated) as caught:
        await writer.change()
    assert caught.value.reason == "CONCURRENT_UPDATE"
    await writer.change()
    assert address.count(address.old) == 7


async def test_a_table_that_is_missing_means_that_the_database_is_not_ready(connect: Connect) -> None:
    database = connect()
    with pytest.raises(SchemaBehind) as caught:
        async with database.transaction() as transaction:
            await transaction.connection.execute(text("SELECT * FROM nothing"))
    assert caught.value.reason == "DATABASE_UNAVAILABLE"
    assert "nothing" in str(caught.value.__cause__)
    assert "nothing" not in caught.value.message


async def test_limits_reach_the_server(connect: Connect) -> None:
    database = connect(statement_timeout_seconds=7)
    async with database.transaction() as transaction:
        ask = text("SELECT current_setting('statement_timeout'), current_setting('idle_session_timeout')")
        assert tuple((await transaction.connection.execute(ask)).one()) == ("7s", "30min")
    await database.check()


@pytest.mark.parametrize("seconds", [2.01, 1.2345])
async def test_limits_that_are_no_round_numbers_are_the_same_there(connect: Connect, seconds: float) -> None:
    await connect(statement_timeout_seconds=seconds).check()
