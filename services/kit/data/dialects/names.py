"""Names of constraints that a database does not report, from the tables of SQLAlchemy's metadata."""

from collections.abc import Iterator, Sequence

from sqlalchemy import Index, PrimaryKeyConstraint, Table, UniqueConstraint
from sqlalchemy.engine import ExceptionContext


def failed_table(failure: ExceptionContext) -> Table | None:
    """Return the table that a statement changes; None if the statement was written as text."""
    compiled = getattr(failure.execution_context, "compiled", None)
    table = getattr(getattr(compiled, "statement", None), "table", None)
    return table if isinstance(table, Table) else None


def unique_name(failure: ExceptionContext, table: Table, columns: Sequence[str]) -> str:
    """Return the name of a table's unique constraint on these columns; empty without such a constraint."""
    for one in _unique(table):
        if [column.name for column in one.columns] == list(columns):
            preparer = failure.dialect.identifier_preparer
            # Applies the naming convention, and quotes where needed.
            name = preparer.format_index(one) if isinstance(one, Index) else preparer.format_constraint(one)
            return str(name or "").strip('"`')
    return ""


def primary_key_name(failure: ExceptionContext) -> str:
    """Return the name of the primary key of the changed table; empty if unknown."""
    table = failed_table(failure)
    return unique_name(failure, table, [column.name for column in table.primary_key]) if table is not None else ""


def _unique(table: Table) -> Iterator[PrimaryKeyConstraint | UniqueConstraint | Index]:
    yield table.primary_key
    yield from (one for one in table.constraints if isinstance(one, UniqueConstraint))
    yield from (one for one in table.indexes if one.unique)
