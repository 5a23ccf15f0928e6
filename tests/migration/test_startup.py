"""What a service does at its start with a database that has another schema than it needs (D8)."""

import asyncio
import importlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import MagicMock

import psycopg
import pytest
from grpc_health.v1 import health_pb2
from pydantic import SecretStr
from sqlalchemy import MetaData, make_url
from structlog.testing import capture_logs

from services import SERVICES
from services.kit.data.engine.database import Database
from services.kit.data.errors import ConnectionFailed
from services.kit.errors import DatabaseUnavailable
from services.kit.migrations.ownership import DatabaseOfAnother
from services.kit.migrations.startup import Mode, RightsMissing, SchemaGate
from services.kit.query.fields import TimestampField
from services.kit.query.page import PageTokens
from services.kit.rpc.serving.health import Health
from services.kit.settings import DatabaseSettings, StartupError
from tests.conftest import as_service, migrations, service_role
from tests.migration.trees import TABLE, Tree

# Nobody listens on port 1.
AWAY = "postgresql://ada:hunter2@127.0.0.1:1/things"


async def alive() -> None:
    """A database that is available."""


def gate(tree: Tree, url: str, mode: Mode = "validate") -> SchemaGate:
    return SchemaGate(lambda: tree.on(url), mode, alive)


async def test_a_database_behind_the_code_is_refused_with_what_is_missing_and_what_to_do(
    tree: Tree, empty_database: str
) -> None:
    tree.add(TABLE)
    tree.on(empty_database).up()
    tree.add("pass")
    tree.add("pass")
    with pytest.raises(StartupError) as caught:
        await gate(tree, empty_database).check()
    assert str(caught.value) == (
        "the database is behind this release, without r2, r3: run innosystem migrate up things"
    )


async def test_a_refusal_goes_through_the_health_checks_and_ends_the_process(tree: Tree, empty_database: str) -> None:
    tree.add(TABLE)
    health = Health(["things"], {"database": gate(tree, empty_database).check})
    with pytest.raises(StartupError, match="behind this release"):
        await health.watch()


def start(service: str, url: str, mode: Mode, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Starts a service on a database, and waits until it has ended."""
    name = service.upper()
    return subprocess.run(
        [sys.executable, "-m", f"services.{service}"],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            f"{name}_DATABASE_URL": url,
            f"{name}_DATABASE_SCHEMA_CHECK": mode,
            f"{name}_LISTEN_ADDRESS": "127.0.0.1:0",
            "REDIS_URL": "redis://127.0.0.1:1/0",
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("service", SERVICES)
def test_a_process_with_a_database_behind_ends_with_one_line_and_exit_status_2(
    service: str, empty_database: str, tmp_path: Path
) -> None:
    done = start(service, empty_database, "validate", tmp_path)
    missing = ", ".join(migrations(service, empty_database).pending())
    assert done.returncode == 2
    assert done.stderr == (
        f"{service}: the database is behind this release, without {missing}: run innosystem migrate up {service}\n"
    )


async def test_an_up_to_date_database_is_checked_once(tree: Tree, empty_database: str) -> None:
    tree.add(TABLE)
    tree.on(empty_database).up()
    schema = gate(tree, empty_database)
    await schema.check()
    # What the next release adds while this one runs is none of its business.
    tree.add("pass")
    await schema.check()


@pytest.mark.parametrize("service", SERVICES)
def test_a_process_with_a_database_up_to_date_serves_without_importing_alembic(
    service: str, fresh_database: Callable[[str], str]
) -> None:
    script = f"""
import asyncio, sys
from services.{service}.__main__ import main
from services.{service}.store.tables import metadata
from services.kit.data.engine.database import Database
from services.kit.migrations.ownership import DatabaseOfAnother
from services.kit.migrations.startup import SchemaGate
from services.kit.settings import DatabaseSettings

async def look() -> None:
    settings = DatabaseSettings(url={fresh_database(service)!r})
    database = Database.connect(settings, application_name="test")
    await SchemaGate.of({service!r}, settings, metadata, database).check()
    await database.close()

asyncio.run(look())
print("alembic" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("service", SERVICES)
async def test_a_database_that_was_never_migrated_is_behind(service: str, empty_database: str) -> None:
    settings = DatabaseSettings(url=SecretStr(empty_database))
    database = Database.connect(settings, application_name="test")
    try:
        with pytest.raises(StartupError, match="behind this release"):
            await SchemaGate.of(service, settings, MetaData(), database).check()
    finally:
        await database.close()


@pytest.mark.parametrize(
    "change",
    ["INSERT INTO alembic_version VALUES ('another')", "ALTER TABLE alembic_version RENAME version_num TO number"],
    ids=["two revisions", "unreadable"],
)
async def test_a_database_with_an_unknown_revision_is_refused(
    fresh_database: Callable[[str], str], change: str
) -> None:
    url = fresh_database("customers")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(change.encode())
    settings = DatabaseSettings(url=SecretStr(url))
    database = Database.connect(settings, application_name="test")
    try:
        with pytest.raises(StartupError, match="can't validate the schema"):
            await SchemaGate.of("customers", settings, MetaData(), database).check()
    finally:
        await database.close()


async def test_a_database_ahead_of_the_code_is_accepted_and_logged(tree: Tree, empty_database: str) -> None:
    tree.add(TABLE)
    tree.on(empty_database).up()
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("ALTER TABLE alembic_version ADD COLUMN service text DEFAULT 'things'")
        connection.execute("UPDATE alembic_version SET version_num = 'later'")
    modes: tuple[Mode, ...] = ("validate", "migrate", "warn")
    for mode in modes:
        with capture_logs() as logs:
            await gate(tree, empty_database, mode).check()
        assert logs == [{"event": "database_ahead_of_code", "log_level": "info", "revision": "later"}]


async def test_a_database_with_an_unknown_revision_that_does_not_say_whose_it_is_is_refused(
    tree: Tree, empty_database: str
) -> None:
    tree.add(TABLE)
    tree.on(empty_database).up()
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'strange'")
    modes: tuple[Mode, ...] = ("validate", "migrate", "warn")
    for mode in modes:
        with pytest.raises(StartupError, match=r"^strange, the revision of the database, is of another service"):
            await gate(tree, empty_database, mode).check()


OTHERS = {"customers": "wallets", "wallets": "jobs", "jobs": "customers"}


@pytest.mark.parametrize("mode", ["validate", "migrate", "warn"])
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_led_to_the_database_of_another_ends_with_a_line_that_says_so(
    service: str, mode: Mode, fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    done = start(service, fresh_database(OTHERS[service]), mode, tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        f"{service}: this is the database of {OTHERS[service]}, not of {service}: "
        f"look at {service.upper()}_DATABASE_URL\n"
    )


async def test_a_database_of_another_service_is_never_said_to_be_served(fresh_database: Callable[[str], str]) -> None:
    settings = DatabaseSettings(url=SecretStr(fresh_database("customers")))
    database = Database.connect(settings, application_name="test")
    health = Health(["wallets"], {"database": SchemaGate.of("wallets", settings, MetaData(), database).check})
    await health.start()
    try:
        with pytest.raises(StartupError, match="the database of customers, not of wallets"):
            await health.watch()
        response = await health.servicer.Check(health_pb2.HealthCheckRequest(service="wallets"), MagicMock())
    finally:
        await database.close()
    assert response.status == health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("move", ["up", "down"])
def test_the_database_of_another_service_is_not_migrated(move: str, fresh_database: Callable[[str], str]) -> None:
    steps = migrations("wallets", fresh_database("customers"))
    before = steps.current()
    with pytest.raises(DatabaseOfAnother, match="the database of customers, not of wallets"):
        getattr(steps, move)("base" if move == "down" else "head")
    assert steps.current() == before


async def test_migrate_applies_what_is_pending(tree: Tree, empty_database: str) -> None:
    tree.add(TABLE)
    await gate(tree, empty_database, "migrate").check()
    assert tree.on(empty_database).current() == "r1"


async def test_a_migration_that_fails_at_the_start_is_reported_in_one_line(tree: Tree, empty_database: str) -> None:
    tree.add("op.execute('SELECT 1 / 0')")
    with pytest.raises(StartupError, match=r"^can't migrate the schema of the database: division by zero$"):
        await gate(tree, empty_database, "migrate").check()


async def test_warn_logs_what_is_pending_and_passes(tree: Tree, empty_database: str) -> None:
    tree.add(TABLE)
    with capture_logs() as logs:
        await gate(tree, empty_database, "warn").check()
    assert [(line["log_level"], line["missing"]) for line in logs] == [("warning", ["r1"])]
    assert tree.on(empty_database).current() is None


async def test_a_database_out_of_reach_fails_the_check_and_is_looked_at_when_it_is_back(
    tree: Tree, empty_database: str
) -> None:
    tree.add(TABLE)
    tree.on(empty_database).up()
    schema = gate(tree, AWAY)
    with pytest.raises(ConnectionFailed):
        await schema.check()
    schema.migrations = lambda: tree.on(empty_database)
    await schema.check()


async def test_background_work_begins_when_the_schema_is_the_right_one(tree: Tree, empty_database: str) -> None:
    tree.add(TABLE)
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()

    schema = gate(tree, empty_database)
    running = asyncio.create_task(schema.before(work)())
    with pytest.raises(StartupError):
        await schema.check()
    assert not begun.is_set()
    tree.on(empty_database).up()
    await schema.check()
    await running
    assert begun.is_set()


ROLES = {service: service_role(service) for service in SERVICES}


@asynccontextmanager
async def gate_of(service: str, url: str) -> AsyncIterator[SchemaGate]:
    """The gate of a service on its database, as which it connects."""
    settings = DatabaseSettings(url=SecretStr(as_service(service, url)))
    database = Database.connect(settings, application_name="test")
    metadata = importlib.import_module(f"services.{service}.store.tables").metadata
    try:
        yield SchemaGate.of(service, settings, metadata, database)
    finally:
        await database.close()


def spelled_otherwise(url: str) -> str:
    """The same database, by a longer URL."""
    return make_url(url).update_query_dict({"connect_timeout": "7"}).render_as_string(hide_password=False)


@pytest.mark.parametrize("service", SERVICES)
async def test_replicas_that_spell_the_url_differently_understand_the_page_tokens_of_one_another(
    service: str, fresh_database: Callable[[str], str]
) -> None:
    url = fresh_database(service)
    created_at = TimestampField("created_at", sortable=True).descending()
    cursor = (datetime.now(UTC),)
    async with gate_of(service, url) as one, gate_of(service, spelled_otherwise(url)) as other:
        # Not by a key that is another one a moment later.
        with pytest.raises(DatabaseUnavailable):
            PageTokens(one.page_token_key).encode(cursor, (created_at,), b"")
        await one.check()
        await other.check()
        token = PageTokens(one.page_token_key).encode(cursor, (created_at,), b"")
        assert PageTokens(other.page_token_key).decode(token, (created_at,), b"") == cursor
        assert len(one.page_token_key()) == 32


def test_each_database_has_a_key_for_page_tokens_of_its_own(fresh_database: Callable[[str], str]) -> None:
    keys = set()
    for service in SERVICES:
        with psycopg.connect(fresh_database(service)) as connection:
            keys.add(connection.execute("SELECT page_token_key FROM alembic_version").fetchone())
    assert len(keys) == len(SERVICES)


async def test_a_database_that_has_no_key_yet_is_served_with_one_that_follows_from_its_url(
    fresh_database: Callable[[str], str],
) -> None:
    url = fresh_database("wallets")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE alembic_version DROP COLUMN page_token_key")
    async with gate_of("wallets", url) as one:
        await one.check()
        assert one.page_token_key() == DatabaseSettings(url=SecretStr(as_service("wallets", url))).page_token_key


REFUSED = {
    ("customers", "REVOKE SELECT ON customers FROM {}"): "SELECT on customers",
    ("customers", "REVOKE INSERT ON api_keys FROM {}"): "INSERT on api_keys",
    ("customers", "REVOKE SELECT ON alembic_version FROM {}"): "SELECT on alembic_version",
    ("wallets", "REVOKE UPDATE ON wallets FROM {}"): "UPDATE on wallets",
    (
        "wallets",
        "REVOKE ALL ON audit_log, holds FROM {}",
    ): "INSERT, SELECT on audit_log; DELETE, INSERT, SELECT, UPDATE on holds",
    ("jobs", "REVOKE DELETE ON unreleased_holds FROM {}"): "DELETE on unreleased_holds",
    ("jobs", "REVOKE SELECT ON jobs FROM {0}; GRANT SELECT (id) ON jobs TO {0}"): "SELECT on jobs",
}


@pytest.mark.parametrize(("service", "change"), REFUSED)
async def test_a_service_whose_role_lacks_a_right_does_not_serve_until_it_is_granted(
    service: str, change: str, fresh_database: Callable[[str], str]
) -> None:
    url = fresh_database(service)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(change.format(ROLES[service]).encode())
    async with gate_of(service, url) as schema:
        with pytest.raises(RightsMissing) as caught:
            await schema.check()
        told = f"role {ROLES[service]} may not {REFUSED[service, change]} in the database {make_url(url).database}"
        assert str(caught.value) == f"{told}: grant it, or run innosystem migrate up {service} as the owner"
        migrations(service, url).up()
        await schema.check()


async def test_a_service_without_privileges_on_its_schema_does_not_report_a_database_that_is_behind(
    fresh_database: Callable[[str], str],
) -> None:
    url = fresh_database("wallets")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"REVOKE USAGE ON SCHEMA public FROM PUBLIC, {ROLES['wallets']}".encode())
    async with gate_of("wallets", url) as schema:
        with pytest.raises(RightsMissing) as caught:
            await schema.check()
    assert "may USE no schema of its search_path" in str(caught.value)


def test_there_is_nothing_besides_tables_that_a_service_needs_a_right_on(fresh_database: Callable[[str], str]) -> None:
    sequences = "SELECT relname FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace"
    called = (
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prorettype <> 'trigger'::regtype"
    )
    for service in SERVICES:
        with psycopg.connect(fresh_database(service)) as connection:
            assert connection.execute(sequences).fetchall() == []
            assert connection.execute(called).fetchall() == []


def test_the_function_of_a_trigger_needs_no_right_when_it_fires(fresh_database: Callable[[str], str]) -> None:
    url = fresh_database("customers")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("REVOKE EXECUTE ON FUNCTION follow_keys_of_customers() FROM PUBLIC")
    with psycopg.connect(as_service("customers", url)) as connection:
        connection.execute(
            "INSERT INTO customers (id, name, email, api_key_hash, request_digest)"
            " VALUES (gen_random_uuid(), 'Ada', 'ada@example.com', 'hash', '')"
        )
        assert connection.execute("SELECT count(*) FROM api_keys").fetchone() == (1,)
