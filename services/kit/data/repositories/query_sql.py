"""Specifications, orders and cursors in SQL, with the same results as `services.kit.query.memory`.

The fields' `attribute` names the column: pass `table.c` or `Model.__table__.c`. Declare columns as
follows:

- Text that is sorted or compared by order follows code points, like in Python, for every locale of
  the database: by the collation "C". With a column of this collation (`Text(collation="C")`, or
  `sorted_text` of `services.kit.data.dialects.types`), a plain index serves orders, pages, ranges
  and patterns with an open end. Other text columns return the same results without such an index.
- Enums are stored by value, as text or number (never as a PostgreSQL enum, which sorts by
  declaration). The column's type may accept the members (SQLAlchemy's Enum, a TypeDecorator), or be
  a plain String or Integer.
- String maps are jsonb (`STRING_MAP` for other databases as well); equality with an entry and "has
  the key" can use a GIN index on the column.
- Lists of strings are arrays, on PostgreSQL.

Nulls: a comparison with null is null in SQL, which WHERE, AND and OR treat like false. Only NOT
distinguishes them, so it is written `IS NOT TRUE`: a comparison with null is false everywhere.
"""

from enum import Enum
from typing import Any, Protocol, TypeVar, cast

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    String,
    and_,
    func,
    literal,
    or_,
    true,
    tuple_,
)
from sqlalchemy import Enum as SqlEnum
from sqlalchemy.sql.elements import Grouping
from sqlalchemy.types import TypeEngine

from services.kit.data.dialects import POSTGRESQL, Dialect
from services.kit.query.fields import ListItem, LowerCase, MapEntry, StringListField, StringMapField
from services.kit.query.page import Cursor, ListQuery
from services.kit.query.resource import Ordering
from services.kit.query.specification import (
    COMPARE,
    AlwaysTrue,
    And,
    Comparison,
    Not,
    OneOf,
    Operand,
    Operator,
    Or,
    Pattern,
    Present,
    Specification,
)

S = TypeVar("S", bound=Select[Any])
Condition = ColumnElement[bool]

_LIKE_ESCAPE = "/"


class Columns(Protocol):
    """The columns of a table under the names of the fields' attributes."""

    def __getitem__(self, key: str, /) -> ColumnElement[Any]:
        """Return the column of this name."""
        ...


def select_page(statement: S, query: ListQuery, columns: Columns, dialect: Dialect = POSTGRESQL) -> S:
    """Add condition, order and limit to a statement; `Page.cut` builds the page of its rows."""
    statement = statement.where(where(query.specification, columns, dialect))
    if query.cursor is not None:
        statement = statement.where(after(query.cursor, query.ordering, columns, dialect))
    return statement.order_by(*order_by(query.ordering, columns, dialect)).limit(query.page_size + 1)


def where(specification: Specification, columns: Columns, dialect: Dialect = POSTGRESQL) -> Condition:
    """Return the condition that is true for rows whose entities match, and false or null for others."""
    match specification:
        case AlwaysTrue():
            return true()
        case And(parts):
            return and_(*(where(part, columns, dialect) for part in parts))
        case Or(parts):
            return or_(*(where(part, columns, dialect) for part in parts))
        case Not(inner):
            return Grouping(where(inner, columns, dialect)).is_not(true())
    return _leaf(specification, columns, dialect)


def _leaf(specification: Specification, columns: Columns, dialect: Dialect) -> Condition:
    match specification:
        case Comparison(operand, operator, value):
            return _comparison(operand, operator, value, columns, dialect)
        case OneOf(operand, values):
            column = _column(operand, columns, dialect)
            return column.in_([_bound(value, column) for value in values])
        case Pattern(operand):
            return _column(operand, columns, dialect).like(_like(specification), escape=_LIKE_ESCAPE)
        case Present(operand):
            return _present(operand, columns, dialect)
    raise TypeError(f"{type(specification).__name__} has no SQL")


def order_by(ordering: Ordering, columns: Columns, dialect: Dialect = POSTGRESQL) -> list[ColumnElement[Any]]:
    """Return the terms of ORDER BY."""
    keys = [_sortable(columns[order.field.attribute], dialect) for order in ordering]
    return [key.desc() if order.descending else key.asc() for key, order in zip(keys, ordering, strict=True)]


def after(cursor: Cursor, ordering: Ordering, columns: Columns, dialect: Dialect = POSTGRESQL) -> Condition:
    """Return the condition of rows after the cursor.

    With one direction, it is one row comparison, which an index on the fields serves as a range.
    With several directions, it is spelled out, with a bound on the first field for an index.
    """
    keys = [_sortable(columns[order.field.attribute], dialect) for order in ordering]
    last = [_bound(value, key) for value, key in zip(cursor, keys, strict=True)]
    if len({order.descending for order in ordering}) > 1:
        return _after_spelled_out(keys, last, ordering)
    if len(keys) == 1:
        return keys[0] < last[0] if ordering[0].descending else keys[0] > last[0]
    row, bound = tuple_(*keys), tuple_(*last)
    return row < bound if ordering[0].descending else row > bound


def _after_spelled_out(keys: list[ColumnElement[Any]], last: list[ColumnElement[Any]], ordering: Ordering) -> Condition:
    beyond: list[Condition] = [
        and_(
            *(keys[before] == last[before] for before in range(at)),
            keys[at] < last[at] if order.descending else keys[at] > last[at],
        )
        for at, order in enumerate(ordering)
    ]
    bound = keys[0] <= last[0] if ordering[0].descending else keys[0] >= last[0]
    return and_(bound, or_(*beyond))


def _comparison(operand: Operand, operator: Operator, value: Any, columns: Columns, dialect: Dialect) -> Condition:
    if isinstance(operand, MapEntry) and operator is Operator.EQUAL:
        return dialect.has_entry(columns[operand.attribute], operand.key, value)
    equality = operator in (Operator.EQUAL, Operator.NOT_EQUAL)
    column = _column(operand, columns, dialect) if equality else _sortable(_stored(operand, columns), dialect)
    return cast("Condition", COMPARE[operator](column, _bound(value, column)))


def _present(operand: Operand, columns: Columns, dialect: Dialect) -> Condition:
    column = columns[operand.attribute]
    if isinstance(operand, MapEntry):
        return dialect.has_key(column, operand.key)
    if isinstance(operand, ListItem):
        # `@>`, of PostgreSQL's arrays.
        return column.contains([operand.item])
    if isinstance(operand, StringListField):
        return func.cardinality(column) > 0
    if isinstance(operand, StringMapField):
        return dialect.has_entries(column)
    return column.is_not(None)


def _column(operand: Operand, columns: Columns, dialect: Dialect) -> ColumnElement[Any]:
    column = _stored(operand, columns)
    if isinstance(operand, MapEntry):
        return dialect.entry(column, operand.key)
    return dialect.exact(column) if _has_own_order(column) else column


def _stored(operand: Operand, columns: Columns) -> ColumnElement[Any]:
    column = columns[operand.attribute]
    return func.lower(column) if isinstance(operand, LowerCase) else column


def _sortable(column: ColumnElement[Any], dialect: Dialect) -> ColumnElement[Any]:
    """Return the column, in the order of code points if it is text."""
    return dialect.by_code_point(column) if _has_own_order(column) else column


def _has_own_order(column: ColumnElement[Any]) -> bool:
    kind = getattr(column.type, "impl_instance", column.type)  # the stored type of a TypeDecorator
    return isinstance(kind, String) and kind.collation != "C"


def _bound(value: Any, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the value as a parameter of the column's type."""
    kind: TypeEngine[Any] = column.type
    if isinstance(kind, Integer):
        kind = BigInteger()  # a number too large for the column matches nothing, instead of failing
    if isinstance(value, Enum) and isinstance(kind, Integer | String) and not _takes_members(kind):
        value = value.value
    return literal(value, kind)


def _takes_members(kind: TypeEngine[Any]) -> bool:
    return isinstance(kind, SqlEnum)


def _like(pattern: Pattern) -> str:
    text = pattern.text
    for special in (_LIKE_ESCAPE, "%", "_"):  # the escape first, or it would escape the escapes of others
        text = text.replace(special, _LIKE_ESCAPE + special)
    return f"{'%' if pattern.open_start else ''}{text}{'%' if pattern.open_end else ''}"
