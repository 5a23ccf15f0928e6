"""Temporary databases are dropped at the end of their command, and those of killed commands by the next (ADR 0055)."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from tests.conftest import PostgresServer
from tests.support.until import until_sync
from tools.local.environment import DatabaseServer
from tools.local.temporary_databases import temporary_database

VARIABLE = "JOBS_DATABASE_URL"
KEEPS = """
import sys
from contextlib import ExitStack
from tools.local.environment import DatabaseServer
from tools.local.temporary_databases import temporary_database
opened = ExitStack()
print(temporary_database(DatabaseServer("JOBS_DATABASE_URL", sys.argv[1]), "demo_jobs", opened), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def server(postgres: PostgresServer) -> Iterator[str]:
    """The address of a database on the server, which must stay untouched."""
    postgres.create_database(name := f"given_{uuid4().hex}")
    yield postgres.url(name)
    postgres.drop_database(name)


def name_of(url: str) -> str:
    return urlsplit(url).path.lstrip("/")


def there_are(server: str) -> set[str]:
    with psycopg.connect(server) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}


def sessions(server: str) -> int:
    """Return the number of other connections to the database that names the server."""
    with psycopg.connect(server) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
        return int(found[0]) if found else 0


def another_command(server: str) -> tuple["subprocess.Popen[str]", str]:
    """Start a process that creates a database and keeps it, without a connection to it."""
    project = str(Path(__file__).parents[4])
    process = subprocess.Popen(
        [sys.executable, "-c", KEEPS, server],
        env={"PYTHONPATH": project},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, name_of(process.stdout.readline().strip())


def test_a_database_is_gone_with_its_command(server: str) -> None:
    before = there_are(server)
    with ExitStack() as opened:
        made = name_of(temporary_database(DatabaseServer(VARIABLE, server), "demo_jobs", opened))
        assert there_are(server) == before | {made}
    assert there_are(server) == before


def test_what_a_killed_command_has_left_is_removed_by_the_next_also_through_another_database(
    server: str, postgres: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    killed, left = another_command(server)
    with killed:
        killed.kill()
    until_sync(lambda: sessions(server) == 0)
    with ExitStack() as opened:
        temporary_database(DatabaseServer(VARIABLE, postgres.url("postgres")), "bench_jobs", opened)
        assert left not in there_are(server)
    assert f"removed the database {left}, left by a killed command" in capsys.readouterr().err


def test_a_database_of_a_command_that_lives_stays_although_nobody_is_connected(server: str) -> None:
    living, kept = another_command(server)
    with living, ExitStack() as opened:
        temporary_database(DatabaseServer(VARIABLE, server), "demo_jobs", opened)
        assert kept in there_are(server)
        living.kill()


@pytest.mark.parametrize(
    ("name", "connected"),
    [(f"innosystem_demo_jobs_{uuid4().hex}", True), ("innosystem_demo_jobs", False), ("innosystem_jobs", False)],
    ids=["a client is connected", "a name like ours", "a stack's"],
)
def test_what_is_in_use_or_has_another_name_stays(
    server: str, postgres: PostgresServer, name: str, connected: bool
) -> None:
    postgres.create_database(name)
    try:
        with ExitStack() as opened:
            if connected:
                opened.enter_context(psycopg.connect(postgres.url(name)))
            temporary_database(DatabaseServer(VARIABLE, server), "demo_jobs", opened)
            assert name in there_are(server)
    finally:
        postgres.drop_database(name)


def test_databases_of_other_owners_are_not_tried(server: str, postgres: PostgresServer) -> None:
    role, left = f"demo_{uuid4().hex}", f"innosystem_demo_jobs_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD 'x'").format(sql.Identifier(role)))
    postgres.create_database(left)
    try:
        with ExitStack() as opened:
            by_role = make_url(server).set(username=role, password="x").render_as_string(hide_password=False)
            temporary_database(DatabaseServer(VARIABLE, by_role), "demo_jobs", opened)
            assert left in there_are(server)
    finally:
        postgres.drop_database(left)
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
