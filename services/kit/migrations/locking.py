"""Locks of migrations: one migration at a time, without holding up the traffic."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import stamina
from psycopg import errors as pg
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

T = TypeVar("T")

#: The table with the turn to migrate behind a pooler (`lease.py`).
TURNS = "alembic_turn"
#: The advisory lock of a migration, the only one that earlier releases use.
LOCK = "innosystem migrations"

_POLL_SECONDS = 0.1

_TURNS_EVER = text(f"SELECT to_regclass('{TURNS}') IS NOT NULL")
_TURN_TAKEN = text(f"SELECT EXISTS (SELECT FROM {TURNS} WHERE expires_at > clock_timestamp())")  # noqa: S608 - a constant


class MigrationsBusy(Exception):
    """Another process has been migrating this database for too long."""


@dataclass(frozen=True)
class Limits:
    """The limits of a migration.

    Attributes:
        lock_timeout_seconds: How long a statement waits for a lock on a table. Later statements on that table queue
            behind it, so this is how long a migration can hold up the traffic: shorter than the services' own lock
            timeout, or they would refuse calls.
        statement_timeout_seconds: How long a statement may run.
        attempts: How many attempts a revision has in all, after lock timeouts and deadlocks.
        retry_seconds: The pause after the first attempt; it doubles with each further one.
        turn_seconds: How long to wait for another process that is migrating the same database.
        lease_seconds: How long a process that migrates through a pooler keeps its turn without a renewal.
    """

    lock_timeout_seconds: float = 0.2
    statement_timeout_seconds: float = 300
    attempts: int = 50
    retry_seconds: float = 0.2
    turn_seconds: float = 600
    lease_seconds: float = 30

    def settings(self) -> dict[str, int]:
        """Return PostgreSQL's settings for a session, in milliseconds."""
        return {
            "lock_timeout": int(self.lock_timeout_seconds * 1000),
            "statement_timeout": int(self.statement_timeout_seconds * 1000),
        }


@contextmanager
def turn(connection: Connection, limits: Limits) -> Iterator[None]:
    """Let one process migrate a database while the others wait.

    Waiting processes poll, because a statement that waits for the lock would hold a snapshot, for which CREATE INDEX
    CONCURRENTLY waits: a deadlock. The lock belongs to the session, because a migration may take several transactions.

    Raises:
        MigrationsBusy: If the turn did not come in time.
    """
    until_ours(lambda: _take(connection), limits)
    try:
        yield
    finally:
        if not connection.invalidated:
            connection.rollback()
            _ask(connection, "pg_advisory_unlock")


def until_ours(take: Callable[[], bool], limits: Limits) -> None:
    """Try repeatedly to take the turn.

    Raises:
        MigrationsBusy: If the turn did not come in time.
    """
    deadline = time.monotonic() + limits.turn_seconds
    while not take():
        if time.monotonic() > deadline:
            raise MigrationsBusy(
                f"another process has been migrating this database for more than {limits.turn_seconds:g} s"
            )
        time.sleep(_POLL_SECONDS)


def tried_again(action: Callable[[], T], connection: Connection, limits: Limits) -> T:
    """Run a migration, and repeat it after a lock timeout or a deadlock. Committed revisions are not repeated."""
    for attempt in stamina.retry_context(
        on=_in_the_way,
        attempts=limits.attempts,
        timeout=None,
        wait_initial=limits.retry_seconds,
        wait_max=limits.retry_seconds * 8,
        wait_jitter=limits.retry_seconds,
    ):
        with attempt:
            connection.rollback()
            return action()
    raise AssertionError("stamina raises what the last attempt raised")


def _in_the_way(error: Exception) -> bool:
    return isinstance(error, DBAPIError) and isinstance(error.orig, pg.LockNotAvailable | pg.DeadlockDetected)


def _take(connection: Connection) -> bool:
    """Take the lock; release it if a process behind a pooler has the turn, which cannot hold the lock."""
    if not _ask(connection, "pg_try_advisory_lock"):
        return False
    free = not connection.scalar(_TURNS_EVER) or not connection.scalar(_TURN_TAKEN)
    connection.commit()
    return free or not _ask(connection, "pg_advisory_unlock")


def _ask(connection: Connection, function: str) -> bool:
    done = bool(connection.execute(text(f"SELECT {function}(hashtext(:lock))"), {"lock": LOCK}).scalar_one())
    connection.commit()
    return done
