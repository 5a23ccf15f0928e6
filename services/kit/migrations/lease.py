"""The turn to migrate where a pooler lends sessions out, so that no lock of a session can stand for it.

It is a row with a time limit, kept by a connection of its own, each of whose statements is a transaction. One that
stayed open would be ended by limits for idle ones, and CREATE INDEX CONCURRENTLY would wait for its snapshot.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import structlog
from sqlalchemy import Connection, Engine, TextClause, event, text
from sqlalchemy.exc import DBAPIError

from services.kit.migrations.locking import LOCK, TURNS, Limits, MigrationsBusy, until_ours

log = structlog.get_logger(__name__)

_BEATS = 6
_STOP_SECONDS = 10

# The lock is for those that find no table at once. It is not the one of the turn, which may be held for long.
_MAKE = f"""SELECT pg_advisory_xact_lock(hashtext('{LOCK}: {TURNS}'));
CREATE TABLE IF NOT EXISTS {TURNS} (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    holder text NOT NULL,
    expires_at timestamptz NOT NULL
)"""
_LATER = "clock_timestamp() + make_interval(secs => CAST(:seconds AS double precision))"
# Who migrates without a pooler holds the lock all the time, and so does each transaction of who migrates through one.
_TAKE = text(f"""
INSERT INTO {TURNS} (holder, expires_at)
SELECT :holder, {_LATER} WHERE pg_try_advisory_xact_lock(hashtext('{LOCK}'))
ON CONFLICT (one) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
WHERE {TURNS}.expires_at <= clock_timestamp()
""")
_RENEW = text(f"""
UPDATE {TURNS} SET expires_at = {_LATER} WHERE holder = :holder AND expires_at > clock_timestamp()
""")  # noqa: S608
_GIVE_BACK = text(f"DELETE FROM {TURNS} WHERE holder = :holder")  # noqa: S608


class Lease:
    """One process's turn to migrate a database.

    Args:
        engine: For the connection that keeps the turn.
        limits: How long it may take to come, and how long it is kept without a sign of life.
    """

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._limits = limits
        self._holder = uuid4().hex
        self._connection: Connection | None = None
        self._ours_until = 0.0

    @property
    def fence(self) -> str:
        """What each transaction of the migration begins with: it fails if the turn was lost, and keeps it if not."""
        return f"""DO $$ BEGIN
PERFORM pg_advisory_xact_lock(hashtext('{LOCK}'));
IF NOT EXISTS (SELECT FROM {TURNS} WHERE holder = '{self._holder}' AND expires_at > clock_timestamp()) THEN
    RAISE EXCEPTION '{self._lost}';
END IF;
END $$"""

    @contextmanager
    def held(self) -> Iterator["Lease"]:
        """Waits for the turn, and keeps it for the block.

        Raises:
            MigrationsBusy: If the turn did not come in time.
        """
        ended = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(ended,), name="migration turn", daemon=True)
        try:
            self._execute(text(_MAKE))
            until_ours(lambda: self._ours_after(_TAKE), self._limits)
            keeper.start()
            yield self
        finally:
            ended.set()
            if keeper.ident is not None:
                keeper.join(_STOP_SECONDS)
            self._give_back(keeper)

    @contextmanager
    def fenced(self, engine: Engine) -> Iterator[Connection]:
        """Opens the connection that migrates. No fence is before statements outside of transactions: the clock is."""

        def check(_connection: Connection, cursor: Any, *_: object) -> None:
            if cursor.connection.autocommit and time.monotonic() > self._ours_until:
                raise MigrationsBusy(self._lost)

        with engine.connect() as connection:
            event.listen(connection, "before_cursor_execute", check)
            yield connection

    @property
    def _lost(self) -> str:
        return f"the turn to migrate was lost: it could not be renewed for {self._limits.lease_seconds:g} s"

    def _keep(self, ended: threading.Event) -> None:
        while not ended.wait(self._limits.lease_seconds / _BEATS):
            try:
                if not self._ours_after(_RENEW):
                    # Whatever the migration does next finds out.
                    return
            except DBAPIError as error:
                log.warning("migration_turn_not_renewed", error=str(error.orig))

    def _ours_after(self, statement: TextClause) -> bool:
        asked = time.monotonic()
        if not self._execute(statement, holder=self._holder, seconds=self._limits.lease_seconds):
            return False
        self._ours_until = asked + self._limits.lease_seconds
        return True

    def _give_back(self, keeper: threading.Thread) -> None:
        """What can't be given back is free when its time is up."""
        if keeper.is_alive():
            log.warning("migration_turn_not_released", error="its connection does not answer")
            return
        try:
            if self._ours_until:
                self._execute(_GIVE_BACK, holder=self._holder)
        except DBAPIError as error:
            log.warning("migration_turn_not_released", error=str(error.orig))
        finally:
            if self._connection is not None:
                self._connection.close()

    def _execute(self, statement: TextClause, **parameters: object) -> int:
        """Executes a statement on the connection that is kept, or on a new one if that has failed."""
        if self._connection is None:
            self._connection = self._engine.connect()
        try:
            return self._connection.execute(statement, parameters).rowcount
        except BaseException:
            self._connection.close()
            self._connection = None
            raise
