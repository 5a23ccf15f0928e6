"""List queries over entities in memory, with the same results as in SQL."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from services.kit.query.field import Order
from services.kit.query.page import Cursor, ListQuery, Page
from services.kit.query.resource import Ordering

T = TypeVar("T")


def apply(entities: Iterable[T], query: ListQuery) -> Page[T]:
    """Return the page of a query."""
    found = [entity for entity in entities if query.specification.matches(entity)]
    if query.cursor is not None:
        cursor = query.cursor
        found = [entity for entity in found if _is_after(entity, cursor, query.ordering)]
    for order in reversed(query.ordering):  # sorting is stable: the most significant field goes last
        found.sort(key=_sort_key(order), reverse=order.descending)
    return Page.cut(found[: query.page_size + 1], query)


def _sort_key(order: Order) -> Callable[[object], Any]:
    return lambda entity: order.field.sort_key(order.field.read(entity))


def _is_after(entity: object, cursor: Cursor, ordering: Ordering) -> bool:
    for order, value in zip(ordering, cursor, strict=True):
        mine, last = _sort_key(order)(entity), order.field.sort_key(value)
        if mine != last:
            return bool(mine < last if order.descending else mine > last)
    return False
