"""What the services' tables have in common: names of constraints, times, and JSON kept as text."""

from typing import Any

from sqlalchemy import Column, DateTime, LargeBinary, MetaData, Text, cast, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql import ColumnElement
from sqlalchemy.types import UserDefinedType


def make_metadata() -> MetaData:
    """Makes the collection of a service's tables. Constraints have names, because errors are told apart by them."""
    return MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def time_column(name: str, *, nullable: bool, default_now: bool = False) -> Column[Any]:
    """Makes a column for a moment, with time zone."""
    return Column(
        name,
        DateTime(timezone=True),
        nullable=nullable,
        server_default=func.now() if default_now else None,
    )


def created_at() -> Column[Any]:
    """Makes the column `created_at`, set by the database."""
    return time_column("created_at", nullable=False, default_now=True)


def updated_at() -> Column[Any]:
    """Makes the column `updated_at`, set by the database at insert and by the repositories at update."""
    return time_column("updated_at", nullable=False, default_now=True)


def bytes_column(name: str, *, nullable: bool) -> Column[Any]:
    """Makes a column for bytes, such as a hash."""
    return Column(name, LargeBinary, nullable=nullable)


class JsonText(UserDefinedType[str]):
    """A `jsonb` column that Python sees as JSON text.

    Values pass through as they are: numbers stay exact, and nothing is parsed on the way. The price is that PostgreSQL
    prints the text as it likes (order of keys, spaces).
    """

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The column's type in DDL."""
        return "JSONB"

    def bind_expression(self, bindvalue: Any) -> ColumnElement[Any]:
        """What stands for a parameter in SQL."""
        return cast(cast(bindvalue, Text), JSONB)

    def column_expression(self, colexpr: Any) -> ColumnElement[Any]:
        """What stands for the column in a select list."""
        return cast(colexpr, Text)
