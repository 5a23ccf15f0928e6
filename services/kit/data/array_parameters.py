"""Many rows in one statement: array parameters, which `unnest` turns into a table.

One statement with an array for each column costs far less than one statement for each row, and its text does not grow
with the rows, so that it is built, compiled and prepared once.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Dialect,
    Integer,
    Interval,
    Text,
    Uuid,
    any_,
    bindparam,
    cast,
    column,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.selectable import TableValuedAlias
from sqlalchemy.types import TypeDecorator, TypeEngine

Types = Mapping[str, TypeEngine[Any] | type[TypeEngine[Any]]]


class _ArrayText(TypeDecorator[Iterable[Any]]):
    """An array that is sent as PostgreSQL's text representation of it.

    The driver would inspect the type of each value and quote it by regular expressions, which took half of the time of
    an insert of many rows.
    """

    impl = Text
    cache_ok = True

    def __init__(self, item: TypeEngine[Any]) -> None:
        super().__init__()
        # A part of the key of SQLAlchemy's cache, like every attribute here.
        self.item = type(item)

    def process_bind_param(self, value: Iterable[Any] | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        values = list(value)
        try:
            # Nearly always all values have the column's type: one expression for all of them takes half the time.
            return "{" + ",".join(_OF_COLUMNS[self.item](values)) + "}"
        except (KeyError, AttributeError, TypeError, ValueError):
            # A column without a writer, or values that only the database converts to its type.
            return "{" + ",".join(map(_written, values)) + "}"


def _written(value: Any) -> str:
    """Return a value as an element of an array's text."""
    return _WRITERS[type(value)](value)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _json(value: Any) -> str:
    return "NULL" if value is None else _quoted(json.dumps(value))


class _Writers(dict[type, Callable[[Any], str]]):
    """Writers of values by their type; a derived type is written like its base."""

    def __missing__(self, kind: type) -> Callable[[Any], str]:
        writer: Callable[[Any], str]
        if issubclass(kind, Enum):
            writer = lambda value: _written(value.value)  # noqa: E731 - as short as the others
        else:
            known = [self[base] for base in kind.__mro__[1:] if base in self]
            if not known:
                raise TypeError(f"the database takes no array of {kind.__name__}")
            writer = known[0]
        self[kind] = writer
        return writer


_WRITERS = _Writers(
    {
        type(None): lambda _: "NULL",
        bool: lambda value: "t" if value else "f",
        int: str,
        float: repr,
        str: _quoted,
        UUID: str,
        bytes: lambda value: f'"\\\\x{value.hex()}"',
        datetime: lambda value: f'"{value.isoformat()}"',
        timedelta: lambda value: f'"{value.days} days {value.seconds} seconds {value.microseconds} microseconds"',
    }
)


def _uuids(values: Iterable[UUID | None]) -> list[str]:
    # PostgreSQL takes UUIDs without hyphens; inserting hyphens takes longer than everything else.
    return ["NULL" if value is None else f"{value.int:032x}" for value in values]


def _numbers(values: Iterable[int | None]) -> list[str]:
    return ["NULL" if value is None else str(int(value)) for value in values]


def _texts(values: Iterable[str | None]) -> list[str]:
    return ["NULL" if value is None else _quoted(value) for value in values]


def _intervals(values: Iterable[timedelta | None]) -> list[str]:
    # Most rows of a batch have the same interval.
    values = list(values)
    texts = {value: _written(value) for value in set(values)}
    return [texts[value] for value in values]


#: Writers of the values of a column by the column's type.
_OF_COLUMNS: dict[type[TypeEngine[Any]], Callable[[Iterable[Any]], Iterable[str]]] = {
    Uuid: _uuids,
    Integer: _numbers,
    BigInteger: _numbers,
    Text: _texts,
    Interval: _intervals,
    JSONB: lambda values: map(_json, values),
}


def _array(name: str, kind: TypeEngine[Any] | type[TypeEngine[Any]]) -> ColumnElement[Any]:
    item = kind() if isinstance(kind, type) else kind
    return cast(bindparam(name, type_=_ArrayText(item)), ARRAY(kind))


def any_of(name: str, kind: TypeEngine[Any] | type[TypeEngine[Any]]) -> ColumnElement[Any]:
    """Return the right side of a comparison that holds for any of many values.

    As in `table.c.id == any_of("ids", Uuid)`. The values are a subquery, which is executed once under any plan. A plain
    array would be parsed again for each row unless it is the key of an index: on 300,000 rows without an index, 50
    values took nine seconds in place of 0.1.

    Args:
        name: The parameter, which takes a list when the statement is executed.
        kind: The SQL type of a value.
    """
    return any_(select(func.unnest(_array(name, kind))).scalar_subquery())


def unnest(name: str, types: Types) -> TableValuedAlias:
    """Return a table of arrays that are passed when the statement is executed.

    Args:
        name: The table's name in the statement.
        types: The SQL type of each column. The parameter of a column has its name and takes a list; all lists of one
            execution have the same length.
    """
    arrays = [_array(label, kind) for label, kind in types.items()]
    return (
        func.unnest(*arrays)
        .table_valued(*(column(label, kind) for label, kind in types.items()), name=name)
        .render_derived()
    )
