"""The order of a list in the syntax of AIP-132: `created_at desc, name`."""

import re

from services.kit.errors import InvalidOrderBy
from services.kit.query.field import Order
from services.kit.query.resource import Ordering, Resource

ORDER_BY_LENGTH_MAX = 1024

_TERM = re.compile(r"[ \t]*(?P<name>[A-Za-z_][A-Za-z0-9_.]*)(?:[ \t]+(?P<direction>asc|desc))?[ \t]*")


def parse_order_by(text: str, resource: Resource) -> Ordering:
    """Parse order_by.

    Args:
        text: Sortable fields of the resource, separated by commas, each ascending unless `desc`
            follows; empty for the resource's default order.
        resource: The resource that is listed.

    Returns:
        The fields to sort by, ending with the unique one.

    Raises:
        InvalidOrderBy: If it is malformed, names a field twice, or names an unsortable field.
    """
    if not text:
        return resource.default_ordering
    if len(text) > ORDER_BY_LENGTH_MAX:
        raise InvalidOrderBy(f"it has {len(text)} characters and may have {ORDER_BY_LENGTH_MAX}")
    if not text.strip(" \t"):
        return resource.default_ordering
    orders: dict[str, Order] = {}
    for part in text.split(","):
        order = _order(part, resource)
        if order.field.name in orders:
            raise InvalidOrderBy(f"{order.field.name} is named twice")
        orders[order.field.name] = order
    return resource.with_tie_breaker(orders.values())


def _order(part: str, resource: Resource) -> Order:
    term = _TERM.fullmatch(part)
    if term is None:
        raise InvalidOrderBy(
            f"{part.strip()[:40]!r} is no field name, optionally followed by asc or desc;"
            " fields are separated by commas"
        )
    field = resource.by_name.get(term["name"])
    if field is None or not field.sortable:
        raise InvalidOrderBy(f"{term['name'][:40]!r} is no field to sort by; the fields are {resource.sortable_names}")
    return Order(field, descending=term["direction"] == "desc")
