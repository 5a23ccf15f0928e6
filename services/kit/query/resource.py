"""A resource that can be listed."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from services.kit.query.field import Field, Order

Ordering = tuple[Order, ...]


@dataclass(frozen=True)
class Resource:
    """The allow-list of one resource, and the order of its lists.

    Attributes:
        name: The name, such as `jobs`. Page tokens are bound to it, so each list has its own.
        fields: The fields to filter and sort by.
        default_order: The order of a list without order_by; if empty, lists are ordered by `id`.
        unique: The name of a sortable field with unique values. It ends every order, because a page
            can only continue after an entity with an unambiguous place.
    """

    name: str
    fields: tuple[Field[Any], ...]
    default_order: Ordering = ()
    unique: str = "id"

    def __post_init__(self) -> None:
        if len(self.by_name) != len(self.fields):
            raise ValueError(f"two fields of {self.name} share a name")
        if not (self.unique in self.by_name and self.by_name[self.unique].sortable):
            raise ValueError(f"{self.name} needs a sortable field called {self.unique}")
        for order in self.default_order:
            if not order.field.sortable:
                raise ValueError(f"{order.field.name} is not sortable")

    @cached_property
    def by_name(self) -> dict[str, Field[Any]]:
        """The fields by name."""
        return {field.name: field for field in self.fields}

    @cached_property
    def filterable_names(self) -> str:
        """The fields that filters may name, for messages."""
        return ", ".join(field.name for field in self.fields if field.filterable)

    @cached_property
    def sortable_names(self) -> str:
        """The fields that order_by may name, for messages."""
        return ", ".join(field.name for field in self.fields if field.sortable)

    @cached_property
    def default_ordering(self) -> Ordering:
        """The default order, with the tie breaker."""
        return self.with_tie_breaker(self.default_order)

    def with_tie_breaker(self, orders: Iterable[Order]) -> Ordering:
        """Return an order that ends with the unique field, without ties.

        The unique field has the direction of the previous field: one index on (field, id) serves
        both directions, and the next page is one row comparison. Fields after the unique one have
        no effect and are left out.
        """
        kept: list[Order] = []
        for order in orders:
            kept.append(order)
            if order.field.name == self.unique:
                return tuple(kept)
        descending = bool(kept) and kept[-1].descending
        return (*kept, Order(self.by_name[self.unique], descending))
