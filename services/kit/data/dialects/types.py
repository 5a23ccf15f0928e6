"""Column types, and the current time, that behave alike on every dialect. On PostgreSQL each is the plain type.

Repositories work with these types and others. A table for PostgreSQL alone, such as those of the services, may use
PostgreSQL's own types.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, FunctionElement, Text, TypeDecorator, Uuid
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeEngine, UserDefinedType

from services.kit.data.dialects.mariadb import MariaDb


class _UtcMoment(TypeDecorator[datetime]):
    """A timestamp for a database without time zones: UTC, in microseconds."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        # MariaDB keeps whole seconds by default.
        return dialect.type_descriptor(mysql.DATETIME(fsp=6) if dialect.name == "mariadb" else DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or value.tzinfo is None:
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


#: A timestamp with time zone, in microseconds.
MOMENT: TypeEngine[Any] = DateTime(timezone=True).with_variant(_UtcMoment(), "sqlite", "mariadb")

#: A UUID that sorts as Python's do. MariaDB's own type sorts some versions by their last bytes first.
UUID: TypeEngine[Any] = Uuid().with_variant(Uuid(native_uuid=False), "mariadb")

#: A map from string to string, for a `StringMapField`; None is SQL's null.
STRING_MAP: TypeEngine[Any] = JSONB(none_as_null=True).with_variant(JSON(none_as_null=True), "sqlite", "mariadb")


class MariaDbJson(UserDefinedType[str]):
    """JSON text, unchanged: MariaDB validates it and stores it as written."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the column's type in DDL."""
        return "JSON"


def sorted_text(length: int | None = None) -> TypeEngine[Any]:
    """Return the type of a text that is compared and sorted by code point.

    Args:
        length: The maximum number of characters on MariaDB, which cannot index a text of unlimited length.
    """
    words: TypeEngine[Any] = mysql.LONGTEXT(charset="utf8mb4", collation=MariaDb.collation)
    if length is not None:
        words = mysql.VARCHAR(length, charset="utf8mb4", collation=MariaDb.collation)
    return Text(collation="C").with_variant(Text(), "sqlite").with_variant(words, "mariadb")


class now(FunctionElement[datetime]):  # noqa: N801 - named like SQLAlchemy's functions
    """The time of the transaction on PostgreSQL, of the statement elsewhere; SQLite has milliseconds."""

    type = DateTime(timezone=True)
    inherit_cache = True


@compiles(now)
def _now(_element: now, _compiler: Any, **_: Any) -> str:
    return "now()"


@compiles(now, "sqlite")
def _now_sqlite(_element: now, _compiler: Any, **_: Any) -> str:
    # As long as the timestamps from Python, with which it is compared as text.
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


@compiles(now, "mariadb")
def _now_mariadb(_element: now, _compiler: Any, **_: Any) -> str:
    return "utc_timestamp(6)"
