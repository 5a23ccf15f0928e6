"""The turn to migrate as it is where a pooler lends sessions out, here without one (D8)."""

import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from services.kit.migrations.locking import TURNS, Limits, MigrationsBusy
from tests.migration.trees import FREEZE, TABLE, Tree, expire_turn

LIMIT_SECONDS = 60
LEASE_SECONDS = 3.0
QUICK = Limits(lock_timeout_seconds=0.1, attempts=2, retry_seconds=0.05, turn_seconds=0.3)
INDEX = (
    "with outside_transaction():",
    f"    {FREEZE}",
    "    op.execute('CREATE INDEX CONCURRENTLY ix_things_name ON things (name)')",
)


def ended(started: "subprocess.Popen[str]") -> tuple[int, str]:
    """Resumes a frozen process until its end, and returns its status and output."""
    started.send_signal(signal.SIGCONT)
    _, told = started.communicate(timeout=LIMIT_SECONDS)
    return started.returncode, told


def indexes(url: str) -> list[bool]:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('ix_things_name')")
        return [bool(valid) for (valid,) in found]


def test_a_turn_is_waited_for_by_all_and_left_to_the_next_one(tree: Tree, empty_database: str) -> None:
    tree.add(TABLE)
    tree.add(*INDEX)
    with ThreadPoolExecutor(10) as pool:
        migrators = [tree.on(empty_database, pooled=bool(number % 2)) for number in range(10)]
        for done in [pool.submit(each.up) for each in migrators]:
            done.result(LIMIT_SECONDS)
    assert tree.on(empty_database).current() == "r2"
    assert indexes(empty_database) == [True]
    with psycopg.connect(empty_database) as connection:
        assert connection.execute(f"SELECT count(*) FROM {TURNS}".encode()).fetchone() == (0,)


def test_who_migrates_through_a_pooler_waits_for_who_holds_the_lock_of_a_session(
    tree: Tree, empty_database: str
) -> None:
    tree.add(TABLE)
    with psycopg.connect(empty_database, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(hashtext('innosystem migrations'))")
        with pytest.raises(MigrationsBusy, match="another process has been migrating"):
            tree.on(empty_database, QUICK, pooled=True).up()
    tree.on(empty_database, QUICK, pooled=True).up()
    assert tree.on(empty_database).current() == "r1"


@pytest.mark.parametrize("pooled", [False, True])
def test_who_is_dead_has_the_turn_for_as_long_as_its_lease(tree: Tree, empty_database: str, pooled: bool) -> None:
    tree.add(TABLE)
    tree.add(*INDEX)
    with tree.frozen(empty_database):
        pass
    with pytest.raises(MigrationsBusy):
        tree.on(empty_database, QUICK, pooled=pooled).up()
    expire_turn(empty_database)
    tree.on(empty_database, QUICK, pooled=pooled).up()
    assert tree.on(empty_database).current() == "r2"


@pytest.mark.parametrize("pooled", [False, True])
def test_who_was_frozen_for_longer_than_its_lease_does_nothing_more_outside_of_transactions(
    tree: Tree, empty_database: str, pooled: bool
) -> None:
    tree.add(TABLE)
    tree.add(*INDEX)
    with tree.frozen(empty_database, lease_seconds=LEASE_SECONDS) as started:
        tree.on(empty_database, pooled=pooled).up()
        assert tree.on(empty_database).current() == "r2"
        status, told = ended(started)
    assert status == 1
    assert "MigrationsBusy: the turn to migrate was lost" in told
    assert indexes(empty_database) == [True]


@pytest.mark.parametrize("pooled", [False, True])
def test_who_is_frozen_in_a_transaction_keeps_the_turn_until_its_end(
    tree: Tree, empty_database: str, pooled: bool
) -> None:
    tree.add(TABLE)
    tree.add("op.execute('ALTER TABLE things ADD COLUMN color text')", FREEZE)
    with tree.frozen(empty_database) as started:
        expire_turn(empty_database)
        with pytest.raises(MigrationsBusy):
            tree.on(empty_database, QUICK, pooled=pooled).up()
        assert ended(started) == (0, "")
    assert tree.on(empty_database).current() == "r2"


def test_a_turn_is_renewed_while_a_step_takes_longer_than_the_lease(tree: Tree, empty_database: str) -> None:
    tree.add(TABLE)
    tree.add("with outside_transaction():", f"    op.execute('SELECT pg_sleep({LEASE_SECONDS + 1})')")
    tree.add("op.execute('ALTER TABLE things ADD COLUMN color text')")
    tree.on(empty_database, Limits(lease_seconds=LEASE_SECONDS), pooled=True).up()
    assert tree.on(empty_database).current() == "r3"


def test_a_transaction_of_who_has_lost_the_turn_does_not_begin(tree: Tree, empty_database: str) -> None:
    taken = f"UPDATE {TURNS} SET holder = 'another'"
    tree.add(
        TABLE,
        "import psycopg",
        f"with psycopg.connect({empty_database!r}) as other:",
        f"    other.execute({taken!r})",
    )
    tree.add("op.execute('ALTER TABLE things ADD COLUMN color text')")
    with pytest.raises(DBAPIError, match="the turn to migrate was lost"):
        tree.on(empty_database, pooled=True).up()
    assert tree.on(empty_database).current() == "r1"


def test_the_table_of_turns_is_no_difference(tree: Tree, empty_database: str) -> None:
    tree.add("pass")
    tree.on(empty_database, pooled=True).up()
    assert tree.on(empty_database).differences() == []
    written = tree.on(empty_database).new("nothing")
    assert TURNS not in written.read_text()
