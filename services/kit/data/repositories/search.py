"""Lists that are bounded under any filter: a page reads a bounded number of rows, and has a cursor where it stopped.

Rows that match a filter are found by an index, or by reading rows in the order of the list. Reading could take as long
as the table is large, and keep a connection busy for that time. It therefore ends after `ROWS_READ_MAX` rows: the page
may have fewer entities than its size, or none, and has a cursor as long as more rows are left (as AIP-158 allows).

Rows that do not exist for the caller are not among those that are read: else the cursor, which callers can read, would
name them, and short pages would tell of them.

The entities of the page and its last row are two statements that must see the same rows: lists run in a transaction
that is REPEATABLE READ.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from sqlalchemy import ColumnElement, Select, Subquery, Table, func, select, union_all

from services.kit.data.repositories import query_sql
from services.kit.query.page import ListQuery
from services.kit.query.specification import (
    ALWAYS,
    And,
    Comparison,
    OneOf,
    Operator,
    Specification,
    all_of,
)

ROWS_READ_MAX = 4_000
"""Read in about ten milliseconds."""
_WALKS_MAX = 4
# A walk costs a tenth of a millisecond of planning.
_OWN_WALKS_MAX = 50


@dataclass(frozen=True)
class Search:
    """A query in two parts: conditions that an index serves, and a condition that is checked for each of its rows.

    Attributes:
        table: The table.
        walks: The rows to read, in the order of the query, as one walk or several that are merged.
        checked: The condition that is checked for each row.
    """

    table: Table
    walks: tuple[ListQuery, ...]
    checked: Specification

    @classmethod
    def of(cls, table: Table, query: ListQuery, is_indexed: Callable[[Comparison], bool]) -> "Search":
        """Divide a query.

        Args:
            table: The table.
            query: The query.
            is_indexed: Whether an index in the order of the list has the rows of a comparison side by side. Bounds on
                the first field of the order always qualify.
        """
        parts, own = _parts(query.specification), _parts(query.narrowing)
        leading = [part for part in parts if _leads(part, query, is_indexed)]
        merged = None
        if not any(is_indexed(part) for part in leading):
            # Each of a few values has a walk of its own, in the order of the list.
            found = (part for part in parts if isinstance(part, OneOf) and _all_lead(part, is_indexed, part in own))
            merged = next(found, None)
        read = [*leading, *(part for part in own if part not in leading and part is not merged)]
        checked = [part for part in parts if part not in read and part is not merged]
        starts: Sequence[Specification] = [ALWAYS] if merged is None else _comparisons(merged)
        walks = [replace(query, specification=all_of(start, *read)) for start in starts]
        return cls(table, tuple(walks), all_of(*checked))

    @property
    def is_bounded(self) -> bool:
        """Whether every row that is read matches, so that a page reads no more rows than it has."""
        return self.checked == ALWAYS and len(self.walks) == 1

    def found(self, columns: Collection[ColumnElement[Any]]) -> Select[Any]:
        """Select the entities of the page among the rows that are read, and one more if it exists."""
        query = self.walks[0]
        read = self._rows_read()
        order = query_sql.order_by(query.ordering, read.c)
        found = select(read.c.id).where(query_sql.where(self.checked, read.c)).limit(query.page_size + 1)
        if len(self.walks) > 1:
            found = found.order_by(*order)
        return self._named(columns, found)

    def last(self, columns: Collection[ColumnElement[Any]]) -> Select[Any]:
        """Select the last of the rows that are read; none if the table has no more rows."""
        read = self._rows_read()
        order = query_sql.order_by(self.walks[0].ordering, read.c)
        return self._named(columns, select(read.c.id).order_by(*order).offset(ROWS_READ_MAX - 1).limit(1))

    def _named(self, columns: Collection[ColumnElement[Any]], found: Select[Any]) -> Select[Any]:
        order = query_sql.order_by(self.walks[0].ordering, self.table.c)
        return select(*columns).where(self.table.c.id == func.any(func.array(found.scalar_subquery()))).order_by(*order)

    def _rows_read(self) -> Subquery:
        walks = [
            query_sql.select_page(select(self.table), walk, self.table.c).limit(ROWS_READ_MAX) for walk in self.walks
        ]
        if len(walks) == 1:
            return walks[0].subquery("rows_read")
        merged = union_all(*(select(walk.subquery()) for walk in walks)).subquery("merged")
        order = query_sql.order_by(self.walks[0].ordering, merged.c)
        return select(merged).order_by(*order).limit(ROWS_READ_MAX).subquery("rows_read")


def _parts(specification: Specification) -> tuple[Specification, ...]:
    return specification.parts if isinstance(specification, And) else (specification,)


def _leads(part: Specification, query: ListQuery, is_indexed: Callable[[Comparison], bool]) -> TypeGuard[Comparison]:
    if not isinstance(part, Comparison):
        return False
    sorted_by = part.operand.attribute == query.ordering[0].field.attribute
    return is_indexed(part) or (sorted_by and part.operator is not Operator.NOT_EQUAL)


def _all_lead(part: OneOf, is_indexed: Callable[[Comparison], bool], is_own: bool) -> bool:
    walks_max = _OWN_WALKS_MAX if is_own else _WALKS_MAX
    return 0 < len(part.values) <= walks_max and all(map(is_indexed, _comparisons(part)))


def _comparisons(part: OneOf) -> Sequence[Comparison]:
    return [Comparison(part.operand, Operator.EQUAL, value) for value in part.values]
