"""The base of the fields of every type: names, and specifications composed in code."""

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

#: The operators of every field, including those whose values have no order.
EQUALITY = frozenset({Operator.EQUAL, Operator.NOT_EQUAL})


@dataclass(frozen=True)
class Field(ABC, Generic[V]):
    """One field of a resource, the base of the class of each type.

    Attributes:
        name: The name in the contract, as written in filters; dots are allowed.
        attribute: The name of the entity's attribute and of the column, if it differs.
        sortable: Whether order_by may name the field. Only for fields that are never null.
        filterable: Whether filters may name the field.
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
    def compared(self) -> "Field[V]":
        """The operand of filters on the field."""
        return self

    @property
    @abstractmethod
    def expects(self) -> str:
        """The values that a filter may compare the field with, in words."""

    @abstractmethod
    def parse(self, text: str) -> V | None:
        """Return the value of a literal in a filter; None if it is invalid."""

    def read(self, entity: object) -> V | None:
        """Return the value of an entity."""
        value: V | None = getattr(entity, self.attribute)
        return value

    def sort_key(self, value: V) -> Any:
        """Return the key by which Python sorts like the database."""
        return value

    def to_json(self, value: V) -> Any:
        """Return the form of a value in a page token."""
        return value

    @abstractmethod
    def from_json(self, value: Any) -> V:
        """Return the value of a page token.

        Raises:
            ValueError: If it is invalid.
        """

    def is_(self, value: V) -> Specification:
        """Match values equal to this one."""
        return Comparison(self, Operator.EQUAL, value)

    def is_not(self, value: V) -> Specification:
        """Match present values that differ from this one."""
        return Comparison(self, Operator.NOT_EQUAL, value)

    def is_in(self, values: Iterable[V]) -> Specification:
        """Match values equal to one of these."""
        return OneOf(self, tuple(values))

    def is_present(self) -> Specification:
        """Match values that are not null."""
        return Present(self)

    def is_absent(self) -> Specification:
        """Match null."""
        return Not(Present(self))

    def ascending(self) -> "Order":
        """Sort by the field, smallest first."""
        return Order(self, descending=False)

    def descending(self) -> "Order":
        """Sort by the field, largest first."""
        return Order(self, descending=True)


class OrderedField(Field[V]):
    """A field whose values have an order."""

    operators: ClassVar[frozenset[Operator]] = frozenset(Operator)

    def less_than(self, value: V) -> Specification:
        """Match values below this one."""
        return Comparison(self, Operator.LESS, value)

    def at_most(self, value: V) -> Specification:
        """Match this value and values below it."""
        return Comparison(self, Operator.AT_MOST, value)

    def greater_than(self, value: V) -> Specification:
        """Match values above this one."""
        return Comparison(self, Operator.GREATER, value)

    def at_least(self, value: V) -> Specification:
        """Match this value and values above it."""
        return Comparison(self, Operator.AT_LEAST, value)


@dataclass(frozen=True)
class Order:
    """A field to sort by, and its direction."""

    field: Field[Any]
    descending: bool

    def __str__(self) -> str:
        """Return the order in the syntax of order_by."""
        return f"{self.field.name} desc" if self.descending else self.field.name
