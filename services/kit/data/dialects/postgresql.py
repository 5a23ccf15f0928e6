"""PostgreSQL, through psycopg 3."""

from typing import Any, cast

from psycopg.pq import TransactionStatus
from sqlalchemy import ColumnElement, Connection, Select, literal, type_coerce
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import ExceptionContext

from services.kit.data.arrays import any_of
from services.kit.data.dialects.dialect import Condition, Dialect
from services.kit.data.errors import DataError, translate
from services.kit.data.prepared import Prepared
from services.kit.settings import DatabaseSettings


class PostgreSql(Dialect):
    """The database of the services. What the others do is measured by it."""

    name = "postgresql"
    drivername = "postgresql+psycopg"
    collation = "C"
    commits_by_driver = True

    def connect_args(self, settings: DatabaseSettings, application_name: str) -> dict[str, Any]:
        """Limits are settings of the session."""
        limits = {
            "statement_timeout": settings.statement_timeout_seconds,
            "lock_timeout": settings.lock_timeout_seconds,
            "idle_in_transaction_session_timeout": settings.idle_in_transaction_timeout_seconds,
        }
        options = " ".join(f"-c {name}={int(seconds * 1000)}" for name, seconds in limits.items())
        return {
            "application_name": application_name,
            "connect_timeout": max(2, round(settings.connect_timeout_seconds)),
            "options": f"{options} -c timezone=UTC",
        }

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


def _map(column: ColumnElement[Any]) -> Any:
    # Any: the operators of jsonb are on the comparator of the type, which SQLAlchemy's annotations don't show.
    return type_coerce(column, JSONB())
