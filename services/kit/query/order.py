"""The order of a list, as AIP-132 writes it: `created_at desc, name`."""

import re

from services.kit.errors import InvalidOrderBy
from services.kit.query.field import Order
from services.kit.query.resource import Ordering, Resource

ORDER_BY_LENGTH_MAX = 1024

_TERM = re.compile(r"[ \t]*(?P<name>[A-Za-z_][A-Za-z0-9_.]*)(?:[ \t]+(?P<direction>asc|desc))?[ \t]*")


def parse_order_by(text: str, resource: Resource) -> Ordering:
    """Reads order_by.

    Args:
        text: Sortable fields of the resource, separated by commas, each ascending unless `desc`
            follows it; empty for the resource's default order.
        resource: What is listed.

    Returns:
        The fields to sort by, ending with the unique one.

    Raises:
        InvalidOrderBy: It is malformed, or names a field twice or one that can't be sorted by.
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
    return resource.made_unique(orders.values())


def _order(part: str, resource: Resource) -> Order:
    term = _TERM.fullmatch(part)
    if term is None:
        raise InvalidOrderBy(
            f"{part.strip()[:40]!r} is no field name, optionally followed by asc or desc;"
            " fields are separated by commas"
        )
    field = resource.by_name.get(term["name"])
    if field is None or not field.sortable:
        raise InvalidOrderBy(f"there is no field {term['name'][:40]!r} to sort by; there are {resource.sortable_names}")
    return Order(field, descending=term["direction"] == "desc")
