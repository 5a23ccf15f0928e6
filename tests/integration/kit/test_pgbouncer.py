"""The data layer through a real PgBouncer, which lends few sessions of the server to many clients."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError

from services import SERVICES
from services.customers.store.tables import metadata as customers
from services.kit.data.engine.database import Database
from services.kit.data.engine.prepared import Prepared
from services.kit.data.errors import ConnectionFailed, LockTimedOut, TimedOut
from services.kit.migrations.locking import TURNS, Limits, MigrationsBusy
from services.kit.migrations.startup import SchemaGate
from services.kit.settings import DatabaseSettings, StartupError
from tests.conftest import PostgresServer, migrations
from tests.migration.trees import FILL, FREEZE, TABLE, Tree, expire_turn
from tests.support import pgbouncer_server
from tools.cli.__main__ import main

PROGRAM = pgbouncer_server.find()
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="there is no PgBouncer of at least 1.21: scripts/get_pgbouncer.py gets one"
)
LIMITS = {"statement_timeout_seconds": 7, "lock_timeout_seconds": 3, "idle_in_transaction_timeout_seconds": 5}
SEEN = text(
    "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'), "
    "current_setting('idle_in_transaction_session_timeout'), current_setting('timezone')"
)


@contextmanager
def pooler(postgres: PostgresServer, mode: str, **settings: object) -> Iterator[Callable[[str], str]]:
    """Runs a PgBouncer; returns a function from the address of a database on the server to its address there."""
    assert PROGRAM is not None
    folder = make_url(postgres.url("postgres")).query["host"]
    assert isinstance(folder, str)
    with pgbouncer_server.running(PROGRAM, folder, mode, **settings) as place:
        yield lambda url: f"postgresql://postgres@/{make_url(url).database}?{place}"


@pytest.fixture(params=["session", "transaction"])
def through(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[Callable[[str], str]]:
    with pooler(postgres, request.param) as made:
        yield made


@pytest.fixture
def direct(fresh_database: Callable[[str], str]) -> str:
    return fresh_database("customers")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    return Tree(tmp_path, monkeypatch)


Connect = Callable[..., Database]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    opened: list[Database] = []

    def make(url: str, **settings: Any) -> Database:
        wanted = DatabaseSettings(url=SecretStr(url), **{"pooled": True, **settings})
        opened.append(Database.connect(wanted, application_name="test"))
        return opened[-1]

    yield make
    for database in opened:
        await database.close()


async def test_limits_hold_in_each_transaction_and_do_not_leak_to_other_clients(
    through: Callable[[str], str], direct: str, connect: Connect
) -> None:
    database = connect(through(direct), pool_size=3, **LIMITS)

    async def seen(read_only: bool) -> tuple[Any, ...]:
        async with database.transaction(read_only=read_only) as transaction:
            return tuple((await transaction.connection.execute(SEEN)).one())

    found = await asyncio.gather(*(seen(bool(number % 2)) for number in range(12)))
    assert set(found) == {("7s", "3s", "5s", "UTC")}
    await database.check()
    await database.close()
    with psycopg.connect(through(direct)) as other:
        ask = "SELECT current_setting('statement_timeout'), current_setting('lock_timeout')"
        assert other.execute(ask).fetchone() == ("0", "0")


async def test_statements_and_locks_are_cut_off_at_their_limits(
    through: Callable[[str], str], direct: str, connect: Connect
) -> None:
    database = connect(through(direct), statement_timeout_seconds=0.1, lock_timeout_seconds=0.05)
    async with database.transaction() as transaction:
        with pytest.raises(TimedOut):
            await transaction.connection.execute(text("SELECT pg_sleep(20)"))
    with psycopg.connect(direct) as other:
        other.execute("LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
        async with database.transaction() as transaction:
            with pytest.raises(LockTimedOut):
                await transaction.connection.execute(text("SELECT 1 FROM customers"))


async def test_prepared_statements_of_many_clients_share_few_sessions(
    postgres: PostgresServer, direct: str, connect: Connect
) -> None:
    statement = Prepared(text("SELECT CAST(:n AS int) + 1").bindparams())
    with pooler(postgres, "transaction", default_pool_size=2) as through:
        database = connect(through(direct), pool_size=8)

        async def ask(number: int) -> int:
            async with database.transaction() as transaction:
                [(value,)] = await database.execute(transaction.connection, statement, {"n": number})
                await database.commit(transaction)
            return int(value)

        # From its sixth execution on a connection a statement is prepared.
        values = [await asyncio.gather(*(ask(number) for number in range(16))) for _ in range(10)]
        assert values == [list(range(1, 17))] * 10
        with psycopg.connect(direct, autocommit=True) as other:
            ours = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            assert other.execute(ours).fetchone() == (2,)


async def test_an_undeclared_pooler_is_refused_with_the_reason_or_found_by_health(
    postgres: PostgresServer, direct: str, connect: Connect
) -> None:
    with pooler(postgres, "transaction") as through:
        with pytest.raises(ConnectionFailed) as refused:
            await connect(through(direct), pooled=False).check()
        assert "unsupported startup parameter" in str(refused.value.__cause__)
    with pooler(postgres, "transaction", ignore_startup_parameters="options") as through:
        database = connect(through(direct), pooled=False)
        with pytest.raises(StartupError, match="DATABASE_POOLED=true"):
            await database.check()


QUICK = Limits(lock_timeout_seconds=0.1, attempts=2, retry_seconds=0.05, turn_seconds=0.3)
COLUMN = "op.execute('ALTER TABLE things ADD COLUMN color text')"
INDEX = (
    "with outside_transaction():",
    "    op.execute('DROP INDEX CONCURRENTLY IF EXISTS ix_things_name')",
    f"    {FREEZE}",
    "    op.execute('CREATE INDEX CONCURRENTLY ix_things_name ON things (name)')",
)


@pytest.mark.parametrize("service", SERVICES)
def test_migrations_go_from_nothing_to_the_head_and_back_and_leave_nothing_in_a_session(
    through: Callable[[str], str], empty_database: str, service: str
) -> None:
    pooled = replace(migrations(service, through(empty_database)), pooled=True)
    pooled.up()
    assert pooled.pending() == pooled.differences() == []
    pooled.down("-1")
    assert len(pooled.pending()) == 1
    with psycopg.connect(through(empty_database), autocommit=True) as other:
        ask = "SELECT current_setting('statement_timeout'), current_setting('lock_timeout')"
        assert other.execute(ask).fetchone() == ("0", "0")
        locks = (
            "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
            "WHERE l.locktype = 'advisory' AND d.datname = current_database()"
        )
        assert other.execute(locks).fetchone() == (0,)
        assert other.execute(f"SELECT count(*) FROM {TURNS}".encode()).fetchone() == (0,)


def test_migrators_through_a_pooler_and_beside_it_take_turns(
    through: Callable[[str], str], empty_database: str, tree: Tree
) -> None:
    tree.add(TABLE, FILL)
    tree.add(*INDEX)
    tree.add("in_batches('things', change=\"name = 'thing ' || id\", where='name IS NULL', rows=100)")
    with ThreadPoolExecutor(6) as pool:
        migrators = [
            tree.on(through(empty_database), pooled=True) if number % 3 else tree.on(empty_database)
            for number in range(6)
        ]
        for done in [pool.submit(each.up) for each in migrators]:
            done.result(60)
    assert tree.on(empty_database).current() == "r3"
    with psycopg.connect(empty_database) as other:
        assert other.execute("SELECT count(name), count(DISTINCT xmin::text) FROM things").fetchone() == (2500, 25)
        valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_things_name'::regclass"
        assert other.execute(valid).fetchone() == (True,)


@pytest.mark.parametrize("change", [COLUMN, "in_batches('things', change=\"name = 'x'\", where='name IS NULL')"])
def test_a_migration_waits_for_locks_no_longer_than_its_limit(
    through: Callable[[str], str], empty_database: str, tree: Tree, change: str
) -> None:
    tree.add(TABLE, "op.execute('INSERT INTO things VALUES (1)')")
    tree.on(through(empty_database), pooled=True).up()
    tree.add(change)
    with psycopg.connect(empty_database) as other:
        other.execute("SELECT FROM things FOR UPDATE")
        with pytest.raises(OperationalError, match="lock timeout"):
            tree.on(through(empty_database), QUICK, pooled=True).up()
    tree.on(through(empty_database), QUICK, pooled=True).up()
    assert tree.on(empty_database).current() == "r2"


def test_the_turn_of_a_migrator_that_dies_ends_with_its_lease(
    through: Callable[[str], str], empty_database: str, tree: Tree
) -> None:
    tree.add(TABLE)
    tree.add(*INDEX)
    with tree.frozen(through(empty_database)):
        pass
    with pytest.raises(MigrationsBusy):
        tree.on(through(empty_database), QUICK, pooled=True).up()
    expire_turn(empty_database)
    tree.on(through(empty_database), QUICK, pooled=True).up()
    assert tree.on(empty_database).current() == "r2"


def test_the_turn_of_a_migrator_that_dies_in_a_transaction_comes_back_as_well(
    through: Callable[[str], str], empty_database: str, tree: Tree
) -> None:
    tree.add(TABLE)
    tree.add(COLUMN, FREEZE)
    with tree.frozen(through(empty_database)):
        expire_turn(empty_database)
        with pytest.raises(MigrationsBusy):
            tree.on(through(empty_database), QUICK, pooled=True).up()
    tree.on(through(empty_database), pooled=True).up()
    assert tree.on(empty_database).current() == "r2"


def test_one_session_is_too_few_for_a_migration_which_says_so(
    postgres: PostgresServer, empty_database: str, tree: Tree
) -> None:
    tree.add(TABLE)
    with pooler(postgres, "session", default_pool_size=1) as through:
        one = replace(tree.on(through(empty_database), pooled=True), connect_timeout_seconds=2)
        with pytest.raises(OperationalError, match="timeout"):
            one.up()
    tree.on(empty_database).up()
    assert tree.on(empty_database).current() == "r1"


def test_the_command_and_the_start_of_a_service_migrate_through_a_pooler(
    through: Callable[[str], str],
    empty_database: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CUSTOMERS_DATABASE_URL", through(empty_database))
    assert main(["migrate", "up", "customers"]) == 1
    assert "unsupported startup parameter" in capsys.readouterr().err

    monkeypatch.setenv("CUSTOMERS_DATABASE_POOLED", "perhaps")
    assert main(["migrate", "up", "customers"]) == 1
    assert capsys.readouterr().err == "innosystem: CUSTOMERS_DATABASE_POOLED must be true or false\n"

    monkeypatch.setenv("CUSTOMERS_DATABASE_POOLED", "true")
    assert main(["migrate", "up", "customers", "--to", "+1"]) == 0

    async def start() -> None:
        settings = DatabaseSettings(url=SecretStr(through(empty_database)), pooled=True, schema_check="migrate")
        database = Database.connect(settings, application_name="test")
        try:
            await SchemaGate.of("customers", settings, customers, database).check()
        finally:
            await database.close()

    asyncio.run(start())
    assert main(["migrate", "check", "customers"]) == 0
