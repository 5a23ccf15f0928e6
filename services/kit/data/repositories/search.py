"""Lists that no filter makes long: a page looks at a bounded number of rows, and says where it has stopped.

What a filter asks for is found by an index, or by looking at rows in the order of the list. Looking could take as long
as the table is large, and keep a connection busy for all that time. So it ends after `LOOKED_AT_MAX` rows: the page may
have fewer entities than were asked for, or none, and has a cursor as long as there is more to look at (as AIP-158
allows it).

What is found and where looking ended are two statements, which must see the same rows: whoever lists begins a
transaction that is REPEATABLE READ.
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

LOOKED_AT_MAX = 4_000
"""Some ten milliseconds."""
_WALKS_MAX = 4


@dataclass(frozen=True)
class Search:
    """A query in two parts: what indexes answer, and what is asked of each row that they lead to.

    Attributes:
        table: The table.
        walks: The rows to look at, in the order of the query, as one walk or several that are merged.
        asked: What is asked of each of them.
    """

    table: Table
    walks: tuple[ListQuery, ...]
    asked: Specification

    @classmethod
    def of(cls, table: Table, query: ListQuery, is_indexed: Callable[[Comparison], bool]) -> "Search":
        """Divide a query.

        Args:
            table: The table.
            query: The query.
            is_indexed: Whether the rows of a comparison lie together in an index that has the order of the list. A
                bound on what the list is sorted by always does that.
        """
        specification = query.specification
        parts = specification.parts if isinstance(specification, And) else (specification,)
        leading = [part for part in parts if _leads(part, query, is_indexed)]
        merged = None
        if not any(is_indexed(part) for part in leading):
            # Each of a few values has a walk of its own, which is in order.
            merged = next((part for part in parts if isinstance(part, OneOf) and _all_lead(part, is_indexed)), None)
        asked = [part for part in parts if part not in leading and part is not merged]
        starts: Sequence[Specification] = [ALWAYS] if merged is None else _comparisons(merged)
        walks = [replace(query, specification=all_of(start, *leading)) for start in starts]
        return cls(table, tuple(walks), all_of(*asked))

    @property
    def is_bounded(self) -> bool:
        """Whether every row that is looked at is wanted, so that no more are than a page has."""
        return self.asked == ALWAYS and len(self.walks) == 1

    def found(self, columns: Collection[ColumnElement[Any]]) -> Select[Any]:
        """The entities of the page among the first rows, one too many if there are more."""
        query = self.walks[0]
        looked_at = self._looked_at()
        order = query_sql.order_by(query.ordering, looked_at.c)
        found = select(looked_at.c.id).where(query_sql.where(self.asked, looked_at.c)).limit(query.page_size + 1)
        if len(self.walks) > 1:
            found = found.order_by(*order)
        return self._named(columns, found)

    def last(self, columns: Collection[ColumnElement[Any]]) -> Select[Any]:
        """The last of the rows that are looked at; none if they are all there are."""
        looked_at = self._looked_at()
        order = query_sql.order_by(self.walks[0].ordering, looked_at.c)
        return self._named(columns, select(looked_at.c.id).order_by(*order).offset(LOOKED_AT_MAX - 1).limit(1))

    def _named(self, columns: Collection[ColumnElement[Any]], found: Select[Any]) -> Select[Any]:
        order = query_sql.order_by(self.walks[0].ordering, self.table.c)
        return select(*columns).where(self.table.c.id == func.any(func.array(found.scalar_subquery()))).order_by(*order)

    def _looked_at(self) -> Subquery:
        walks = [
            query_sql.select_page(select(self.table), walk, self.table.c).limit(LOOKED_AT_MAX) for walk in self.walks
        ]
        if len(walks) == 1:
            return walks[0].subquery("looked_at")
        merged = union_all(*(select(walk.subquery()) for walk in walks)).subquery("merged")
        order = query_sql.order_by(self.walks[0].ordering, merged.c)
        return select(merged).order_by(*order).limit(LOOKED_AT_MAX).subquery("looked_at")


def _leads(part: Specification, query: ListQuery, is_indexed: Callable[[Comparison], bool]) -> TypeGuard[Comparison]:
    if not isinstance(part, Comparison):
        return False
    sorted_by = part.operand.attribute == query.ordering[0].field.attribute
    return is_indexed(part) or (sorted_by and part.operator is not Operator.NOT_EQUAL)


def _all_lead(part: OneOf, is_indexed: Callable[[Comparison], bool]) -> bool:
    return 0 < len(part.values) <= _WALKS_MAX and all(map(is_indexed, _comparisons(part)))


def _comparisons(part: OneOf) -> Sequence[Comparison]:
    return [Comparison(part.operand, Operator.EQUAL, value) for value in part.values]
