"""PostgreSQL, through psycopg 3."""

from typing import Any, cast

from psycopg import AsyncConnection as DriverConnection
from psycopg.pq import TransactionStatus
from sqlalchemy import ColumnElement, Connection, Select, literal, text, type_coerce
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncConnection

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
    """The database of the services. What the others do is measured by it."""

    name = "postgresql"
    drivername = "postgresql+psycopg"
    collation = "C"
    commits_by_driver = True

    def connect_args(self, settings: DatabaseSettings, application_name: str) -> dict[str, Any]:
        """Limits are settings of the session, or of each transaction where a pooler lends sessions out."""
        limits = {
            "statement_timeout": settings.statement_timeout_seconds,
            "lock_timeout": settings.lock_timeout_seconds,
            "idle_in_transaction_session_timeout": settings.idle_in_transaction_timeout_seconds,
        }
        return {
            "application_name": application_name,
            "connect_timeout": max(2, round(settings.connect_timeout_seconds)),
            # A standby is no server for us, also not where the address leads to one after a failover.
            "target_session_attrs": "read-write",
            **_vanished_after(settings.tcp_timeout_seconds),
            **_limited(settings, {name: _milliseconds(seconds) for name, seconds in limits.items()}),
        }

    async def condition(self, connection: AsyncConnection) -> ServerCondition:
        """All at once; in a transaction, which is where limits may come from."""
        answered = (await connection.execute(_CONDITION)).one()
        return ServerCondition(answered.now, answered.read_only, float(answered.statement_timeout_seconds))

    def transaction_options(self, isolation: str | None, *, read_only: bool) -> dict[str, Any]:
        """SQLAlchemy knows both."""
        return {
            **({"isolation_level": isolation} if isolation else {}),
            **({"postgresql_readonly": True} if read_only else {}),
        }

    def is_aborted(self, connection: Connection) -> bool:
        """After a failed statement PostgreSQL takes no other, and answers COMMIT with a rollback."""
        driver: Any = connection.connection.driver_connection
        return driver is not None and driver.info.transaction_status is TransactionStatus.INERROR

    def translate(self, failure: ExceptionContext) -> DataError | None:
        """By the classes of psycopg, one for each SQLSTATE."""
        return translate(failure.original_exception)

    def any_of(self, column: ColumnElement[Any], name: str) -> Condition:
        """By an array: the statement's text does not grow with the list."""
        return column == any_of(name, column.type)

    def prepared(self, statement: Select[Any]) -> Prepared:
        """For the driver itself."""
        return Prepared(statement)

    def exact(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """In every collation that a column has by default, equal means the same."""
        return column

    def entry(self, column: ColumnElement[Any], key: str) -> ColumnElement[Any]:
        """`->>`."""
        return cast("ColumnElement[Any]", _map(column)[key].astext)

    def has_entry(self, column: ColumnElement[Any], key: str, value: str) -> Condition:
        """`@>`, which an index can answer."""
        return cast("Condition", _map(column).contains({key: value}))

    def has_key(self, column: ColumnElement[Any], key: str) -> Condition:
        """`?`, which an index can answer."""
        return cast("Condition", _map(column).has_key(key))

    def has_entries(self, column: ColumnElement[Any]) -> Condition:
        """By comparison with the empty map."""
        return cast("Condition", _map(column) != literal({}, JSONB()))


def _vanished_after(seconds: float) -> dict[str, Any]:
    """How the driver finds out that a machine has gone without a word, as it does when its power fails."""
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
    # Of a client that has vanished the server keeps nothing for longer than we would use it.
    limits["idle_session_timeout"] = _milliseconds(settings.connection_lifetime_seconds)
    return {"options": " ".join(f"-c {name}={value}" for name, value in limits.items())}


def _milliseconds(seconds: float) -> str:
    # 0 would mean that there is no limit.
    return str(max(1, round(seconds * 1000)))


def _map(column: ColumnElement[Any]) -> Any:
    # Any: the operators of jsonb are on the comparator of the type, which SQLAlchemy's annotations don't show.
    return type_coerce(column, JSONB())
