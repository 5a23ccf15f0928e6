"""MariaDB with InnoDB, through asyncmy."""

import math
import re
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, bindparam, event, func
from sqlalchemy.engine import ExceptionContext
from typing_extensions import override

from services.kit.data.dialects.dialect import Condition, Dialect
from services.kit.data.dialects.names import primary_key_name
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

_READ_ONLY = "mariadb_readonly"
_ABORTED = "mariadb_aborted"

_UNIQUE = frozenset({1062, 1169, 1586})
_FOREIGN_KEY = frozenset({1216, 1217, 1451, 1452})
_CHECK, _NULL = 4025, frozenset({1048, 1364})
_NAMES = MappingProxyType(
    {
        **dict.fromkeys(_UNIQUE, re.compile(r" for key '(.+)'$")),
        **dict.fromkeys(_FOREIGN_KEY, re.compile(r"CONSTRAINT `(.+?)` FOREIGN KEY")),
        _CHECK: re.compile(r"^CONSTRAINT `(.+?)` failed"),
    }
)
_MISSING = frozenset({1054, 1146})
_INVALID = frozenset({1264, 1265, 1292, 1365, 1366, 1367, 1406, 1411, 1690, 4038})
_KINDS: MappingProxyType[int, type[DataError]] = MappingProxyType(
    {
        # These two roll back the whole transaction: a deadlock, and a change beside an older snapshot.
        **dict.fromkeys((1213, 1020), Conflict),
        1205: LockTimedOut,
        # A statement took too long, or an administrator ended it.
        **dict.fromkeys((1317, 1969), TooCostly),
        **dict.fromkeys((1290, 1792, 1836), DatabaseReadOnly),
        # Too many connections, wrong database or password, shutting down, ended, no disk or memory left.
        **dict.fromkeys((1021, 1037, 1040, 1041, 1044, 1045, 1049, 1053, 1114, 1129, 1130, 1203), ConnectionFailed),
        **dict.fromkeys((1226, 1927, 2002, 2003, 2005, 2006, 2013, 2014, 2055, 3169, 4031), ConnectionFailed),
    }
)
_ROLLED_BACK = frozenset({1213, 1020})
_NO_SAVEPOINT = 1305


class MariaDb(Dialect):
    """A server with the transactional storage that is its default."""

    name = "mariadb"
    drivername = "mariadb+asyncmy"
    # "nopad": trailing spaces are significant.
    collation = "utf8mb4_nopad_bin"
    returns_updated = False

    @override
    def connect_args(self, settings: DatabaseSettings, application_name: str) -> dict[str, Any]:
        # Limits are settings of the session. Lock timeouts are whole seconds.
        session = {
            "time_zone": "'+00:00'",
            "tx_isolation": "'READ-COMMITTED'",
            "max_statement_time": settings.statement_timeout_seconds,
            "innodb_lock_wait_timeout": max(1, math.ceil(settings.lock_timeout_seconds)),
            "lock_wait_timeout": max(1, math.ceil(settings.lock_timeout_seconds)),
            "idle_transaction_timeout": max(1, math.ceil(settings.idle_in_transaction_timeout_seconds)),
        }
        return {
            "charset": "utf8mb4",
            "connect_timeout": max(2, round(settings.connect_timeout_seconds)),
            "init_command": "SET " + ", ".join(f"SESSION {name} = {value}" for name, value in session.items()),
            "program_name": application_name,
        }

    @override
    def prepare(self, engine: Engine) -> None:
        # Read-only transactions need an explicit start: the driver begins others with their first statement.
        event.listen(engine, "begin", _begin)

    @override
    def transaction_options(self, isolation: str | None, *, read_only: bool) -> dict[str, Any]:
        return {
            **({"isolation_level": isolation} if isolation else {}),
            **({_READ_ONLY: True} if read_only else {}),
        }

    @override
    def is_aborted(self, connection: Connection) -> bool:
        # Most errors leave the transaction open; a deadlock rolls it back, and later statements would begin another.
        return _ABORTED in connection.info

    @override
    def translate(self, failure: ExceptionContext) -> DataError | None:
        error = failure.original_exception
        driver: Any = failure.dialect.loaded_dbapi
        if not isinstance(error, driver.Error):
            return None
        number = error.args[0] if error.args and isinstance(error.args[0], int) else None
        if number is None or number == 0:
            # The driver's own: the connection is closed.
            return ConnectionFailed() if isinstance(error, driver.InterfaceError | driver.OperationalError) else None
        if number in _ROLLED_BACK and failure.connection is not None:
            failure.connection.info[_ABORTED] = True
        if number == _NO_SAVEPOINT and failure.connection is not None and _ABORTED in failure.connection.info:
            return Conflict()
        return _translated(number, str(error.args[-1]), failure)

    @override
    def any_of(self, column: ColumnElement[Any], name: str) -> Condition:
        return column.in_(bindparam(name, expanding=True))

    @override
    def entry(self, column: ColumnElement[Any], key: str) -> ColumnElement[Any]:
        return func.json_value(column, func.concat("$.", func.json_quote(key))).collate(self.collation)

    @override
    def has_entries(self, column: ColumnElement[Any]) -> Condition:
        return func.json_length(column) > 0


def _begin(connection: Connection) -> None:
    connection.info.pop(_ABORTED, None)
    if _READ_ONLY in connection.get_execution_options():
        connection.exec_driver_sql("START TRANSACTION READ ONLY")


def _translated(number: int, message: str, failure: ExceptionContext) -> DataError | None:
    if number in _UNIQUE:
        # Newer servers prefix the table. Primary keys have no name.
        name = _name(number, message).rpartition(".")[2]
        return AlreadyExists(primary_key_name(failure) if name == "PRIMARY" else name)
    if number in _FOREIGN_KEY:
        return StillReferenced(_name(number, message))
    if number == _CHECK:
        return ConstraintViolated(_name(number, message))
    if number in _NULL:
        return ConstraintViolated("")
    if number in _MISSING:
        return SchemaBehind()
    if number in _INVALID:
        return InvalidData(message)
    kind = _KINDS.get(number)
    return kind() if kind else None


def _name(number: int, message: str) -> str:
    found = _NAMES[number].search(message)
    return found[1] if found else ""
