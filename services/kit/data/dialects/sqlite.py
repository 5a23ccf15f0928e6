"""SQLite, through aiosqlite: one file, one writer at a time."""

import re
import sqlite3
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, bindparam, event, func, select
from sqlalchemy.engine import ExceptionContext
from typing_extensions import override

from services.kit.data.dialects.dialect import Condition, Dialect
from services.kit.data.dialects.names import failed_table, unique_name
from services.kit.data.errors import (
    AlreadyExists,
    Conflict,
    ConnectionFailed,
    ConstraintViolated,
    DatabaseReadOnly,
    DataError,
    InvalidData,
    LockTimedOut,
    SchemaBehind,
    StillReferenced,
    TooCostly,
)
from services.kit.settings import DatabaseSettings

_READ_ONLY = "sqlite_readonly"
_PRAGMAS = (
    "PRAGMA foreign_keys = ON",
    # LIKE ignores case by default.
    "PRAGMA case_sensitive_like = ON",
    # Readers and the writer don't wait for one another.
    "PRAGMA journal_mode = WAL",
)
_REFUSED = re.compile(r"(?:UNIQUE|CHECK|NOT NULL) constraint failed: (?:index ')?(?P<what>.+?)'?")
_MISSING = re.compile(r"no such (?:table|column)|has no column named")
_KINDS: dict[int, type[DataError]] = {
    sqlite3.SQLITE_BUSY: LockTimedOut,
    sqlite3.SQLITE_LOCKED: LockTimedOut,
    sqlite3.SQLITE_INTERRUPT: TooCostly,
    sqlite3.SQLITE_READONLY: DatabaseReadOnly,
    sqlite3.SQLITE_CANTOPEN: ConnectionFailed,
    sqlite3.SQLITE_IOERR: ConnectionFailed,
    sqlite3.SQLITE_FULL: ConnectionFailed,
    sqlite3.SQLITE_NOTADB: ConnectionFailed,
    sqlite3.SQLITE_CORRUPT: ConnectionFailed,
}
_INVALID = frozenset({sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH})
_UNIQUE = frozenset(
    {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID}
)


class Sqlite(Dialect):
    """A database in a file. It supports only the limits of the pool and of waiting for a lock."""

    name = "sqlite"
    drivername = "sqlite+aiosqlite"
    collation = "BINARY"

    @override
    def connect_args(self, settings: DatabaseSettings, application_name: str) -> dict[str, Any]:
        return {"timeout": settings.lock_timeout_seconds}

    @override
    def prepare(self, engine: Engine) -> None:
        event.listen(engine, "connect", _connected)
        # The driver by itself would begin a transaction only before a change.
        event.listen(engine, "begin", _begin)

    @override
    def transaction_options(self, isolation: str | None, *, read_only: bool) -> dict[str, Any]:
        # All transactions are serializable, at every isolation level.
        autocommit = {"isolation_level": isolation} if isolation == "AUTOCOMMIT" else {}
        return {**autocommit, **({_READ_ONLY: True} if read_only else {})}

    @override
    def is_aborted(self, connection: Connection) -> bool:
        # Most errors leave the transaction open; after others, such as a full disk, SQLite rolls back.
        driver: Any = connection.connection.driver_connection
        return driver is not None and not driver.in_transaction

    @override
    def translate(self, failure: ExceptionContext) -> DataError | None:
        error = failure.original_exception
        if isinstance(error, OverflowError):
            return InvalidData(str(error))
        code = getattr(error, "sqlite_errorcode", None)
        if not isinstance(error, sqlite3.Error) or code is None:
            return None
        if code == sqlite3.SQLITE_BUSY_SNAPSHOT:
            return Conflict()
        primary = code & 0xFF
        if primary == sqlite3.SQLITE_CONSTRAINT:
            return _integrity(code, str(error), failure)
        if primary in _INVALID:
            return InvalidData(str(error))
        # The statement could not be prepared, and only the text has the reason.
        if primary == sqlite3.SQLITE_ERROR and _MISSING.search(str(error)):
            return SchemaBehind()
        kind = _KINDS.get(primary)
        return kind() if kind else None

    @override
    def any_of(self, column: ColumnElement[Any], name: str) -> Condition:
        return column.in_(bindparam(name, expanding=True))

    @override
    def entry(self, column: ColumnElement[Any], key: str) -> ColumnElement[Any]:
        # From the map's entries as rows: a JSON path cannot contain every character.
        entries = func.json_each(column).table_valued("key", "value")
        return select(entries.c.value).where(entries.c.key == key).scalar_subquery()

    @override
    def has_entries(self, column: ColumnElement[Any]) -> Condition:
        entries = func.json_each(column).table_valued("key", "value")
        return select(entries.c.key).exists()


def _connected(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    read_only = _READ_ONLY in options
    # A property of the connection, beyond the transaction.
    if read_only != connection.info.get(_READ_ONLY, False):
        connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if read_only else 'OFF'}")
        connection.info[_READ_ONLY] = read_only
    # SQLAlchemy emits this event for autocommit as well.
    if options.get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN")


def _integrity(code: int, message: str, failure: ExceptionContext) -> ConstraintViolated:
    if code in (sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY, sqlite3.SQLITE_CONSTRAINT_TRIGGER):
        # SQLite does not report which constraint.
        return StillReferenced("")
    found = _REFUSED.fullmatch(message)
    what = found["what"] if found else ""
    if code in _UNIQUE:
        return AlreadyExists(_unique_name(what, failure))
    return ConstraintViolated(what)


def _unique_name(what: str, failure: ExceptionContext) -> str:
    """Return the name of the constraint on `table.column, table.column`, which is all that SQLite reports."""
    table = failed_table(failure)
    columns = [one.rpartition(".") for one in what.split(", ")]
    if table is None or any(name != table.name for name, _, _ in columns):
        return what
    return unique_name(failure, table, [column for _, _, column in columns]) or what
