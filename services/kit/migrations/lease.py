"""The turn to migrate behind a pooler, which shares sessions, so that a session's lock cannot represent the turn.

The turn is a row with a time limit, renewed on a connection of its own, each of whose statements is a transaction. An
open transaction would be ended by the limits for idle ones, and CREATE INDEX CONCURRENTLY would wait for its snapshot.
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

# The lock serializes processes that find no table at the same time. It differs from the turn's, which may be held long.
_MAKE = f"""SELECT pg_advisory_xact_lock(hashtext('{LOCK}: {TURNS}'));
CREATE TABLE IF NOT EXISTS {TURNS} (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    holder text NOT NULL,
    expires_at timestamptz NOT NULL
)"""
_LATER = "clock_timestamp() + make_interval(secs => CAST(:seconds AS double precision))"
# A migration without a pooler holds the lock all the time, and so does each transaction of one through a pooler.
_TAKE = text(f"""
INSERT INTO {TURNS} (holder, expires_at)
SELECT :holder, {_LATER} WHERE pg_try_advisory_xact_lock(hashtext('{LOCK}'))
ON CONFLICT (one) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
WHERE {TURNS}.expires_at <= clock_timestamp()
""")
_RENEW = text(f"""
UPDATE {TURNS} SET expires_at = {_LATER} WHERE holder = :holder AND expires_at > clock_timestamp()
""")  # noqa: S608 - a constant
_GIVE_BACK = text(f"DELETE FROM {TURNS} WHERE holder = :holder")  # noqa: S608 - a constant


class Lease:
    """One process's turn to migrate a database.

    Args:
        engine: Opens the connection that renews the turn.
        limits: How long to wait for the turn, and how long it lasts without a renewal.
    """

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._limits = limits
        self._holder = uuid4().hex
        self._connection: Connection | None = None
        self._ours_until = 0.0

    @property
    def fence(self) -> str:
        """The first statement of each of the migration's transactions: it fails if the turn was lost, else keeps it."""
        return f"""DO $$ BEGIN
PERFORM pg_advisory_xact_lock(hashtext('{LOCK}'));
IF NOT EXISTS (SELECT FROM {TURNS} WHERE holder = '{self._holder}' AND expires_at > clock_timestamp()) THEN
    RAISE EXCEPTION '{self._lost}';
END IF;
END $$"""

    @contextmanager
    def held(self) -> Iterator["Lease"]:
        """Wait for the turn, and keep it for the block.

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
        """Open the connection that migrates; outside of transactions, where no fence works, the clock guards it."""

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
                    # The migration's next statement detects the loss.
                    return
            except DBAPIError as error:
                log.warning("migration_turn_not_renewed", error=str(error.orig))

    def _ours_after(self, statement: TextClause) -> bool:
        sent_at = time.monotonic()
        if not self._execute(statement, holder=self._holder, seconds=self._limits.lease_seconds):
            return False
        self._ours_until = sent_at + self._limits.lease_seconds
        return True

    def _give_back(self, keeper: threading.Thread) -> None:
        """Release the turn; after a failure it ends with its time limit."""
        if keeper.is_alive():
            log.warning("migration_turn_not_released", error="its connection does not respond")
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
        """Execute a statement on the kept connection, or on a new one after a failure."""
        if self._connection is None:
            self._connection = self._engine.connect()
        try:
            return self._connection.execute(statement, parameters).rowcount
        except BaseException:
            self._connection.close()
            self._connection = None
            raise
