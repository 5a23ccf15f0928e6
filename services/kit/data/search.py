"""Lists that no filter makes long: a page looks at a bounded number of rows, and says where it has stopped.

What a filter asks for is found by an index, or by looking at rows in the order of the list. Looking could take as long
as the table is large, and keep a connection busy for all that time. So it ends after `LOOKED_AT_MAX` rows: the page may
have fewer entities than were asked for, or none, and has a cursor as long as there is more to look at (as AIP-158
allows it).
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, func, select

from services.kit.query import sql
from services.kit.query.page import ListQuery
from services.kit.query.specification import ALWAYS, And, Comparison, Operator, Specification, all_of

LOOKED_AT_MAX = 10_000
"""Some ten milliseconds."""


@dataclass(frozen=True)
class Search:
    """A query in two parts: what indexes answer, and what is asked of each row that they lead to.

    Attributes:
        table: The table.
        walked: The rows to look at, in the order of the query.
        asked: What is asked of each of them.
    """

    table: Table
    walked: ListQuery
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
        walked = [part for part in parts if _leads(part, query, is_indexed)]
        asked = [part for part in parts if part not in walked]
        return cls(table, replace(query, specification=all_of(*walked)), all_of(*asked))

    @property
    def is_bounded(self) -> bool:
        """Whether every row that is looked at is wanted, so that no more are than a page has."""
        return self.asked == ALWAYS

    def found(self, columns: Collection[ColumnElement[Any]]) -> Select[Any]:
        """The entities of the page among the first rows, one too many if there are more."""
        looked_at = self._walk(self.table.c.values()).limit(LOOKED_AT_MAX).subquery("looked_at")
        condition = sql.where(self.asked, looked_at.c)
        found = select(looked_at.c.id).where(condition).limit(self.walked.page_size + 1).scalar_subquery()
        order = sql.order_by(self.walked.ordering, self.table.c)
        return select(*columns).where(self.table.c.id == func.any(func.array(found))).order_by(*order)

    def last(self, columns: Collection[ColumnElement[Any]]) -> Select[Any]:
        """The last of the rows that are looked at; none if they are all there are."""
        return self._walk(columns).offset(LOOKED_AT_MAX - 1).limit(1)

    def _walk(self, columns: Collection[ColumnElement[Any]]) -> Select[Any]:
        return sql.select_page(select(*columns), self.walked, self.table.c).limit(None)


def _leads(part: Specification, query: ListQuery, is_indexed: Callable[[Comparison], bool]) -> bool:
    if not isinstance(part, Comparison):
        return False
    sorted_by = part.operand.attribute == query.ordering[0].field.attribute
    return is_indexed(part) or (sorted_by and part.operator is not Operator.NOT_EQUAL)
