"""Shared parts of the services' tables: names of constraints, times, JSON kept as text, and the audit trail."""

from typing import Any

from sqlalchemy import JSON, Column, Index, LargeBinary, MetaData, Table, Text, cast
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql import ColumnElement
from sqlalchemy.types import TypeEngine, UserDefinedType

from services.kit.data.append_only import append_only
from services.kit.data.dialects.types import MOMENT, UUID, MariaDbJson, now, sorted_text


def make_metadata() -> MetaData:
    """Create the metadata of a service's tables. Constraints have names, by which their errors are distinguished."""
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
    """Create a column for a timestamp with time zone."""
    return Column(
        name,
        MOMENT,
        nullable=nullable,
        server_default=now() if default_now else None,
    )


def created_at() -> Column[Any]:
    """Create the column `created_at`, set by the database."""
    return time_column("created_at", nullable=False, default_now=True)


def updated_at() -> Column[Any]:
    """Create the column `updated_at`, set by the database at insert and by the repositories at update."""
    return time_column("updated_at", nullable=False, default_now=True)


def bytes_column(name: str, *, nullable: bool) -> Column[Any]:
    """Create a column for bytes, such as a hash."""
    return Column(name, LargeBinary, nullable=nullable)


class JsonText(UserDefinedType[str]):
    """A `jsonb` column that is JSON text in Python.

    Values pass through unparsed, so numbers stay exact. In return, PostgreSQL determines the format of the text (order
    of keys, spaces).
    """

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the column's type in DDL."""
        return "JSONB"

    def bind_expression(self, bindvalue: Any) -> ColumnElement[Any]:
        """Return the SQL for a parameter."""
        return cast(cast(bindvalue, Text), JSONB)

    def column_expression(self, colexpr: Any) -> ColumnElement[Any]:
        """Return the SQL for the column in a select list."""
        return cast(colexpr, Text)


def json_text() -> TypeEngine[Any]:
    """Create the type of a column of JSON text for every dialect; SQLite does not validate the JSON."""
    return JsonText().with_variant(Text(), "sqlite").with_variant(MariaDbJson(), "mariadb")


_SORTED_TEXT = sorted_text()
_JSON = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

#: The audit trail (`services.kit.data.audit.entries`). Each service that audits has a copy in its metadata:
#: `audit_log.to_metadata(metadata)`.
audit_log = Table(
    "audit_log",
    make_metadata(),
    Column("id", UUID, primary_key=True),
    Column("actor", _SORTED_TEXT, nullable=False),
    Column("method", _SORTED_TEXT, nullable=False),
    Column("request_id", _SORTED_TEXT, nullable=False),
    Column("transaction_id", _SORTED_TEXT, nullable=False),
    Column("entity_type", _SORTED_TEXT, nullable=False),
    Column("entity_id", UUID, nullable=False),
    Column("action", _SORTED_TEXT, nullable=False),
    Column("before", _JSON, nullable=True),
    Column("after", _JSON, nullable=True),
    created_at(),
)

# The history of one row, and the list in its default order.
Index("ix_audit_log_entity_id", audit_log.c.entity_id, audit_log.c.created_at, audit_log.c.id)
Index("ix_audit_log_created_at", audit_log.c.created_at, audit_log.c.id)

append_only(audit_log, "refuse_change_of_audit_log")
