"""What the fields of every type share: their names, and specifications made in code."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from services.kit.query.specification import (
    Comparison,
    Not,
    OneOf,
    Operator,
    Present,
    Specification,
)

V = TypeVar("V")

#: What every field can do, whether or not its values have a size.
EQUALITY = frozenset({Operator.EQUAL, Operator.NOT_EQUAL})


@dataclass(frozen=True)
class Field(ABC, Generic[V]):
    """One field of a resource. Use the class of its type; this one is what they share.

    Attributes:
        name: Its name in the contract, as written in filters; dots are allowed.
        attribute: The entity's attribute and the column, where they have another name.
        sortable: Whether order_by may name it. Only for fields that are never null.
        filterable: Whether filters may name it.
    """

    name: str
    attribute: str = field(default="", kw_only=True)
    sortable: bool = field(default=False, kw_only=True)
    filterable: bool = field(default=True, kw_only=True)

    operators: ClassVar[frozenset[Operator]] = EQUALITY

    def __post_init__(self) -> None:
        if not self.attribute:
            object.__setattr__(self, "attribute", self.name)

    @property
    @abstractmethod
    def expects(self) -> str:
        """What a filter may compare it with, in words."""

    @abstractmethod
    def parse(self, text: str) -> V | None:
        """The value written in a filter; None if it is not one."""

    def read(self, entity: object) -> V | None:
        """The value that an entity has."""
        value: V | None = getattr(entity, self.attribute)
        return value

    def sort_key(self, value: V) -> Any:
        """What Python compares to sort as the database does."""
        return value

    def to_json(self, value: V) -> Any:
        """The value in a page token."""
        return value

    @abstractmethod
    def from_json(self, value: Any) -> V:
        """The value out of a page token; ValueError if it is not one."""

    def is_(self, value: V) -> Specification:
        """Equal to the value."""
        return Comparison(self, Operator.EQUAL, value)

    def is_not(self, value: V) -> Specification:
        """There, and another than the value."""
        return Comparison(self, Operator.NOT_EQUAL, value)

    def is_in(self, values: Iterable[V]) -> Specification:
        """Equal to one of the values."""
        return OneOf(self, tuple(values))

    def is_present(self) -> Specification:
        """Not null."""
        return Present(self)

    def is_absent(self) -> Specification:
        """Null."""
        return Not(Present(self))

    def ascending(self) -> "Order":
        """Smallest first."""
        return Order(self, descending=False)

    def descending(self) -> "Order":
        """Largest first."""
        return Order(self, descending=True)


class OrderedField(Field[V]):
    """A field whose values may be compared by size."""

    operators: ClassVar[frozenset[Operator]] = frozenset(Operator)

    def less_than(self, value: V) -> Specification:
        """Below the value."""
        return Comparison(self, Operator.LESS, value)

    def at_most(self, value: V) -> Specification:
        """The value or below."""
        return Comparison(self, Operator.AT_MOST, value)

    def greater_than(self, value: V) -> Specification:
        """Above the value."""
        return Comparison(self, Operator.GREATER, value)

    def at_least(self, value: V) -> Specification:
        """The value or above."""
        return Comparison(self, Operator.AT_LEAST, value)


@dataclass(frozen=True)
class Order:
    """A field to sort by, and its direction."""

    field: Field[Any]
    descending: bool

    def __str__(self) -> str:
        """As order_by says it."""
        return f"{self.field.name} desc" if self.descending else self.field.name
