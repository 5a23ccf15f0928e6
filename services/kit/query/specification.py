"""Conditions on an entity that compose with `&`, `|` and `~`, and know nothing of databases.

They are made by the fields of a resource (`services.kit.query.fields`) or by the filter parser.
`sql.where` says the same in SQL. The logic has two values: a comparison with None is false,
whatever the operator, and `~` of it is true.
"""

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol


class Operand(Protocol):
    """What is compared: a field of an entity, or one entry of a map."""

    @property
    def attribute(self) -> str:
        """The name of the entity's attribute, and of the column."""
        ...

    def read(self, entity: object) -> Any:
        """The value that an entity has here; None where it has none."""
        ...


class Operator(Enum):
    """The comparisons; the values are the comparators of AIP-160."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    GREATER = ">"
    AT_LEAST = ">="


COMPARE: dict[Operator, Callable[[Any, Any], Any]] = {
    Operator.EQUAL: operator.eq,
    Operator.NOT_EQUAL: operator.ne,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
}


class Specification(ABC):
    """A condition that an entity meets or does not meet."""

    @abstractmethod
    def matches(self, entity: object) -> bool:
        """Whether the entity meets the condition."""

    def __and__(self, other: "Specification") -> "Specification":
        return all_of(self, other)

    def __or__(self, other: "Specification") -> "Specification":
        return any_of(self, other)

    def __invert__(self) -> "Specification":
        return Not(self)


@dataclass(frozen=True)
class AlwaysTrue(Specification):
    """Every entity: the meaning of an empty filter."""

    def matches(self, entity: object) -> bool:
        """True."""
        return True


ALWAYS = AlwaysTrue()


@dataclass(frozen=True)
class And(Specification):
    """All of the parts."""

    parts: tuple[Specification, ...]

    def matches(self, entity: object) -> bool:
        """Whether the entity meets every part."""
        return all(part.matches(entity) for part in self.parts)


@dataclass(frozen=True)
class Or(Specification):
    """At least one of the parts."""

    parts: tuple[Specification, ...]

    def matches(self, entity: object) -> bool:
        """Whether the entity meets any part."""
        return any(part.matches(entity) for part in self.parts)


@dataclass(frozen=True)
class Not(Specification):
    """The entities that don't meet the inner condition, those with a null in it included."""

    inner: Specification

    def matches(self, entity: object) -> bool:
        """Whether the entity does not meet the inner condition."""
        return not self.inner.matches(entity)


@dataclass(frozen=True)
class Comparison(Specification):
    """A value compared with a constant; false where the entity has no value."""

    operand: Operand
    operator: Operator
    value: Any

    def matches(self, entity: object) -> bool:
        """Whether the entity has a value and the comparison holds."""
        found = self.operand.read(entity)
        return found is not None and bool(COMPARE[self.operator](found, self.value))


@dataclass(frozen=True)
class OneOf(Specification):
    """A value that is one of several; false where the entity has none."""

    operand: Operand
    values: tuple[Any, ...]

    def matches(self, entity: object) -> bool:
        """Whether the entity's value is among them."""
        found = self.operand.read(entity)
        return found is not None and found in self.values


@dataclass(frozen=True)
class Pattern(Specification):
    """A string that starts with, ends with or contains a text.

    Case counts, and no character is special.

    Attributes:
        operand: What is looked at.
        text: What is looked for.
        open_start: Whether anything may come before it.
        open_end: Whether anything may come after it.
    """

    operand: Operand
    text: str
    open_start: bool
    open_end: bool

    def matches(self, entity: object) -> bool:
        """Whether the entity has a string here and it fits."""
        found = self.operand.read(entity)
        if found is None:
            return False
        if self.open_start and self.open_end:
            return self.text in found
        if self.open_start:
            return bool(found.endswith(self.text))
        return bool(found.startswith(self.text) if self.open_end else found == self.text)


@dataclass(frozen=True)
class Present(Specification):
    """A value that is there: not null; of a map, that it has an entry."""

    operand: Operand

    def matches(self, entity: object) -> bool:
        """Whether the entity has a value here."""
        found = self.operand.read(entity)
        return bool(found) if isinstance(found, Mapping) else found is not None


def all_of(*parts: Specification) -> Specification:
    """Joins conditions by AND, flat: a chain of any length is one level deep."""
    flat = _flattened(parts, And)
    kept = tuple(part for part in flat if not isinstance(part, AlwaysTrue))
    if not kept:
        return ALWAYS
    return kept[0] if len(kept) == 1 else And(kept)


def any_of(first: Specification, *others: Specification) -> Specification:
    """Joins conditions by OR, flat."""
    flat = _flattened((first, *others), Or)
    if any(isinstance(part, AlwaysTrue) for part in flat):
        return ALWAYS
    return flat[0] if len(flat) == 1 else Or(flat)


def _flattened(parts: tuple[Specification, ...], kind: type[And] | type[Or]) -> tuple[Specification, ...]:
    flat: list[Specification] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, kind) else (part,))
    return tuple(flat)
