"""One kind of resource that can be listed."""

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
        name: What is listed, such as `jobs`. Page tokens are bound to it, so each list has its own.
        fields: What can be filtered and sorted.
        default_order: The order of a list that asks for none; without it, lists are ordered by
            `id`.
        unique: The name of the sortable field that no two entities share. It ends every order,
            because a page can only go on after an entity whose place is unmistakable.
    """

    name: str
    fields: tuple[Field[Any], ...]
    default_order: Ordering = ()
    unique: str = "id"

    def __post_init__(self) -> None:
        if len(self.by_name) != len(self.fields):
            raise ValueError(f"two fields of {self.name} have the same name")
        if not (self.unique in self.by_name and self.by_name[self.unique].sortable):
            raise ValueError(f"{self.name} needs a sortable field called {self.unique}")
        for order in self.default_order:
            if not order.field.sortable:
                raise ValueError(f"{order.field.name} is not sortable")

    @cached_property
    def by_name(self) -> dict[str, Field[Any]]:
        """The fields under their names."""
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
        """The default order, made unique."""
        return self.made_unique(self.default_order)

    def made_unique(self, orders: Iterable[Order]) -> Ordering:
        """Ends an order with the unique field, which leaves no ties.

        It gets the direction of the field before it: so one index on (field, id) serves both
        directions, and the next page is one row comparison. What would come after the unique field
        can't matter and is left out.
        """
        kept: list[Order] = []
        for order in orders:
            kept.append(order)
            if order.field.name == self.unique:
                return tuple(kept)
        descending = bool(kept) and kept[-1].descending
        return (*kept, Order(self.by_name[self.unique], descending))
