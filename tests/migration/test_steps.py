"""Locks, retries, batches, and steps outside of transactions, on real PostgreSQL (D8)."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from alembic.util import CommandError
from sqlalchemy.exc import OperationalError

from services.kit.migrations.locking import Limits, MigrationsBusy
from services.kit.settings import DatabaseSettings
from tests.migration.trees import FILL, TABLE, Tree
from tests.support.until import until_sync

LIMIT_SECONDS = 30
QUICK = Limits(lock_timeout_seconds=0.1, attempts=2, retry_seconds=0.05, turn_seconds=0.3)
PATIENT = Limits(lock_timeout_seconds=0.1, attempts=50, retry_seconds=0.05)


def ask(url: str, query: str) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    assert row
    return row[0]


def test_an_alter_that_gets_no_lock_gives_up_and_is_tried_again_until_it_does(tree: Tree, empty_database: str) -> None:
    tree.add(TABLE)
    tree.on(empty_database).up()
    tree.add("op.execute('ALTER TABLE things ADD COLUMN color text')")
    with psycopg.connect(empty_database) as reader, ThreadPoolExecutor(1) as pool:
        reader.execute("SELECT count(*) FROM things")
        with pytest.raises(OperationalError, match="lock timeout"):
            tree.on(empty_database, QUICK).up()
        assert tree.on(empty_database).current() == "r1"

        going = pool.submit(tree.on(empty_database, PATIENT).up)
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
        until_sync(lambda: ask(empty_database, waiting) == 1)
        # Between the attempts, the traffic continues.
        assert ask(empty_database, "SELECT count(*) FROM things") == 0
        reader.rollback()
        going.result(LIMIT_SECONDS)
    assert tree.on(empty_database).current() == "r2"


def test_who_waits_too_long_for_its_turn_says_so(tree: Tree, empty_database: str) -> None:
    tree.add(TABLE)
    with psycopg.connect(empty_database) as other:
        other.execute("SELECT pg_advisory_lock(hashtext('innosystem migrations'))")
        with pytest.raises(MigrationsBusy, match="another process has been migrating"):
            tree.on(empty_database, QUICK).up()
    tree.on(empty_database, QUICK).up()
    assert tree.on(empty_database).current() == "r1"


def test_many_processes_create_an_index_concurrently_once(tree: Tree, empty_database: str) -> None:
    tree.add(TABLE, FILL)
    tree.add(
        "with outside_transaction():",
        "    op.create_index('ix_things_name', 'things', ['name'], postgresql_concurrently=True)",
    )
    with ThreadPoolExecutor(10) as pool:
        for done in [pool.submit(tree.on(empty_database).up) for _ in range(10)]:
            done.result(LIMIT_SECONDS)
    assert ask(empty_database, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_things_name'::regclass")
    assert tree.on(empty_database).current() == "r2"


def test_a_revision_that_fails_leaves_those_before_it_and_nothing_of_itself(tree: Tree, empty_database: str) -> None:
    tree.add(TABLE)
    tree.add("op.execute('ALTER TABLE things ADD COLUMN color text')", "op.execute('SELECT 1 / 0')")
    with pytest.raises(Exception, match="division by zero"):
        tree.on(empty_database).up()
    assert tree.on(empty_database).current() == "r1"
    columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'things'"
    assert ask(empty_database, columns) == 2


BATCHES = "in_batches('things', change=\"name = 'thing ' || id\", where='name IS NULL', rows=100)"
FILLED = "SELECT count(*) FROM things WHERE name IS NOT NULL"


def test_batches_that_are_interrupted_keep_what_is_done_and_go_on_from_there(tree: Tree, empty_database: str) -> None:
    tree.add(TABLE, FILL)
    tree.add(BATCHES)
    tree.on(empty_database).up("r1")
    with psycopg.connect(empty_database) as blocker, ThreadPoolExecutor(1) as pool:
        blocker.execute("SELECT FROM things WHERE id = 1050 FOR UPDATE")
        going = pool.submit(tree.on(empty_database, Limits(lock_timeout_seconds=LIMIT_SECONDS)).up)
        # The batch with the locked row waits; those before it are visible to others, so they are committed.
        until_sync(lambda: ask(empty_database, FILLED) == 1000)
        killed = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s AND datname = %s"
        name = psycopg.conninfo.conninfo_to_dict(empty_database)["dbname"]
        blocker.execute(killed, ("innosystem-migrate-things", name))
        with pytest.raises(OperationalError):
            going.result(LIMIT_SECONDS)
    assert tree.on(empty_database).current() == "r1"
    assert ask(empty_database, FILLED) == 1000
    first = ask(empty_database, "SELECT xmin::text FROM things WHERE id = 1")

    tree.on(empty_database).up()

    assert tree.on(empty_database).current() == "r2"
    assert ask(empty_database, FILLED) == 2500
    assert ask(empty_database, "SELECT xmin::text FROM things WHERE id = 1") == first
    assert ask(empty_database, "SELECT count(DISTINCT xmin::text) FROM things") == 25


def test_a_change_that_changes_nothing_is_refused_instead_of_running_forever(tree: Tree, empty_database: str) -> None:
    tree.add(TABLE, FILL)
    tree.add("in_batches('things', change='name = NULL', where='name IS NULL')")
    with pytest.raises(CommandError, match="would never end"):
        tree.on(empty_database).up()


def test_a_step_outside_of_transactions_after_another_change_is_refused(tree: Tree, empty_database: str) -> None:
    tree.add(TABLE, FILL)
    tree.add("op.execute('ALTER TABLE things ADD COLUMN color text')", BATCHES)
    with pytest.raises(CommandError, match="must be the first of its revision"):
        tree.on(empty_database).up()
    assert tree.on(empty_database).current() == "r1"


def test_pending_sql_is_printed_and_can_be_run_and_nothing_is_changed(tree: Tree, empty_database: str) -> None:
    tree.add(TABLE)
    tree.add(BATCHES)
    tree.add("with outside_transaction():", "    op.execute('CREATE INDEX CONCURRENTLY ON things (name)')")
    printed = tree.on(empty_database).sql()
    assert tree.on(empty_database).current() is None
    assert printed.startswith("SET lock_timeout = 200;")
    for part in ("CREATE TABLE things", "Repeat until", "LIMIT 100", "CREATE INDEX CONCURRENTLY", "'r3'"):
        assert part in printed
    with psycopg.connect(empty_database, autocommit=True) as connection:
        for statement in printed.split(";\n"):
            connection.execute(statement)
    assert tree.on(empty_database).current() == "r3"
    assert tree.on(empty_database).sql() == ""


def test_a_migration_holds_up_the_traffic_for_less_than_the_services_wait_for_a_lock() -> None:
    services = DatabaseSettings.model_fields["lock_timeout_seconds"].default
    assert Limits().lock_timeout_seconds < services
