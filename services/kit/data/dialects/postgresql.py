"""PostgreSQL, through psycopg 3."""

from typing import Any, cast

from psycopg import AsyncConnection as DriverConnection
from psycopg.pq import TransactionStatus
from sqlalchemy import ColumnElement, Connection, Select, literal, text, type_coerce
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncConnection
from typing_extensions import override

from services.kit.data.array_parameters import any_of
from services.kit.data.dialects.dialect import Condition, Dialect, ServerCondition
from services.kit.data.dialects.psycopg_errors import translate
from services.kit.data.engine.pooled import limited_in_transactions
from services.kit.data.engine.prepared import Prepared
from services.kit.data.errors import DataError
from services.kit.settings import DatabaseSettings

_CONDITION = text("""
SELECT clock_timestamp() AS now, current_setting('transaction_read_only') = 'on' AS read_only,
    extract(epoch FROM CAST(current_setting('statement_timeout') AS interval)) AS statement_timeout_seconds
""")
_KEEPALIVES = 3

#: Bounds how long the open transaction waits for each lock.
SHORT_LOCK_TIMEOUT = text("SET LOCAL lock_timeout = '20ms'")


class PostgreSql(Dialect):
    """The database of the services, and the reference for the others."""

    name = "postgresql"
    drivername = "postgresql+psycopg"
    collation = "C"
    commits_by_driver = True

    @override
    def connect_args(self, settings: DatabaseSettings, application_name: str) -> dict[str, Any]:
        # Limits are settings of the session, or of each transaction where a pooler shares sessions.
        limits = {
            "statement_timeout": settings.statement_timeout_seconds,
            "lock_timeout": settings.lock_timeout_seconds,
            "idle_in_transaction_session_timeout": settings.idle_in_transaction_timeout_seconds,
        }
        return {
            "application_name": application_name,
            "connect_timeout": max(2, round(settings.connect_timeout_seconds)),
            # Never a standby, even if the address leads to one after a failover.
            "target_session_attrs": "read-write",
            **_vanished_after(settings.tcp_timeout_seconds),
            **_limited(settings, {name: _milliseconds(seconds) for name, seconds in limits.items()}),
        }

    @override
    async def condition(self, connection: AsyncConnection) -> ServerCondition:
        # In a transaction, because limits may be settings of transactions.
        row = (await connection.execute(_CONDITION)).one()
        return ServerCondition(row.now, row.read_only, float(row.statement_timeout_seconds))

    @override
    def transaction_options(self, isolation: str | None, *, read_only: bool) -> dict[str, Any]:
        return {
            **({"isolation_level": isolation} if isolation else {}),
            **({"postgresql_readonly": True} if read_only else {}),
        }

    @override
    def is_aborted(self, connection: Connection) -> bool:
        # After a failed statement PostgreSQL refuses all others, and rolls back at COMMIT.
        driver: Any = connection.connection.driver_connection
        return driver is not None and driver.info.transaction_status is TransactionStatus.INERROR

    @override
    def translate(self, failure: ExceptionContext) -> DataError | None:
        return translate(failure.original_exception)

    @override
    def any_of(self, column: ColumnElement[Any], name: str) -> Condition:
        # An array, so that the statement's text does not grow with the list.
        return column == any_of(name, column.type)

    @override
    def prepared(self, statement: Select[Any]) -> Prepared:
        return Prepared(statement)

    @override
    def exact(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        # In every collation that a column has by default, only identical text is equal.
        return column

    @override
    def entry(self, column: ColumnElement[Any], key: str) -> ColumnElement[Any]:
        return cast("ColumnElement[Any]", _map(column)[key].astext)

    @override
    def has_entry(self, column: ColumnElement[Any], key: str, value: str) -> Condition:
        # `@>`, which can use an index.
        return cast("Condition", _map(column).contains({key: value}))

    @override
    def has_key(self, column: ColumnElement[Any], key: str) -> Condition:
        # `?`, which can use an index.
        return cast("Condition", _map(column).has_key(key))

    @override
    def has_entries(self, column: ColumnElement[Any]) -> Condition:
        return cast("Condition", _map(column) != literal({}, JSONB()))


def _vanished_after(seconds: float) -> dict[str, Any]:
    """Return the driver's options to detect a machine that vanished silently, as when its power fails."""
    interval = max(1, round(seconds / (_KEEPALIVES + 1)))
    return {
        "keepalives": 1,
        "keepalives_idle": interval,
        "keepalives_interval": interval,
        "keepalives_count": _KEEPALIVES,
        "tcp_user_timeout": int(seconds * 1000),
    }


def _limited(settings: DatabaseSettings, limits: dict[str, str]) -> dict[str, Any]:
    limits["timezone"] = "UTC"
    if settings.pooled:
        return {"async_creator_fn": limited_in_transactions(DriverConnection, limits).connect}
    # The server ends the session of a vanished client when this service would have replaced the connection.
    limits["idle_session_timeout"] = _milliseconds(settings.connection_lifetime_seconds)
    return {"options": " ".join(f"-c {name}={value}" for name, value in limits.items())}


def _milliseconds(seconds: float) -> str:
    # 0 would mean no limit.
    return str(max(1, round(seconds * 1000)))


def _map(column: ColumnElement[Any]) -> Any:
    # Any: SQLAlchemy's annotations lack the operators of jsonb, which the type's comparator has.
    return type_coerce(column, JSONB())
