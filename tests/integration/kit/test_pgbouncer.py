"""The data layer through a real PgBouncer, which lends few sessions of the server to many clients."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import make_url, text

from services.kit.data.database import Database
from services.kit.data.errors import ConnectionFailed, LockTimedOut, TimedOut
from services.kit.data.prepared import Prepared
from services.kit.settings import DatabaseSettings, StartupError
from tests import pgbouncer_server
from tests.conftest import PostgresServer

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
    """Runs a PgBouncer; answers what makes the address of a database there of the one on the server."""
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


async def test_limits_hold_in_each_transaction_and_are_left_to_nobody(
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
                [(answer,)] = await database.execute(transaction.connection, statement, {"n": number})
                await database.commit(transaction)
            return int(answer)

        # From its sixth execution on a connection a statement is prepared.
        answers = [await asyncio.gather(*(ask(number) for number in range(16))) for _ in range(10)]
        assert answers == [list(range(1, 17))] * 10
        with psycopg.connect(direct, autocommit=True) as other:
            ours = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            assert other.execute(ours).fetchone() == (2,)


async def test_a_pooler_that_is_not_told_of_is_refused_with_the_reason_or_found_by_health(
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
