"""Conditions on an entity that compose with `&`, `|` and `~`, independent of databases.

The fields of a resource (`services.kit.query.fields`) and the filter parser create them.
`sql.where` says the same in SQL. The logic has two values: a comparison with None is false,
whatever the operator, and `~` of it is true.
"""

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from typing_extensions import override


class Operand(Protocol):
    """The left side of a comparison: a field of an entity, or one entry of a map."""

    @property
    def attribute(self) -> str:
        """The name of the entity's attribute, and of the column."""
        ...

    def read(self, entity: object) -> Any:
        """Return the value of an entity, or None."""
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
        """Return whether the entity meets the condition."""

    def __and__(self, other: "Specification") -> "Specification":
        return all_of(self, other)

    def __or__(self, other: "Specification") -> "Specification":
        return any_of(self, other)

    def __invert__(self) -> "Specification":
        return Not(self)


@dataclass(frozen=True)
class AlwaysTrue(Specification):
    """The condition that every entity meets: an empty filter."""

    @override
    def matches(self, entity: object) -> bool:
        return True


ALWAYS = AlwaysTrue()


@dataclass(frozen=True)
class And(Specification):
    """The condition that all parts hold."""

    parts: tuple[Specification, ...]

    @override
    def matches(self, entity: object) -> bool:
        return all(part.matches(entity) for part in self.parts)


@dataclass(frozen=True)
class Or(Specification):
    """The condition that at least one part holds."""

    parts: tuple[Specification, ...]

    @override
    def matches(self, entity: object) -> bool:
        return any(part.matches(entity) for part in self.parts)


@dataclass(frozen=True)
class Not(Specification):
    """The negation of a condition; it includes entities with a null in the condition."""

    inner: Specification

    @override
    def matches(self, entity: object) -> bool:
        return not self.inner.matches(entity)


@dataclass(frozen=True)
class Comparison(Specification):
    """A comparison of a value with a constant; false without a value."""

    operand: Operand
    operator: Operator
    value: Any

    @override
    def matches(self, entity: object) -> bool:
        found = self.operand.read(entity)
        return found is not None and bool(COMPARE[self.operator](found, self.value))


@dataclass(frozen=True)
class OneOf(Specification):
    """The condition that a value is one of several; false without a value."""

    operand: Operand
    values: tuple[Any, ...]

    @override
    def matches(self, entity: object) -> bool:
        found = self.operand.read(entity)
        return found is not None and found in self.values


@dataclass(frozen=True)
class Pattern(Specification):
    """The condition that a string starts with, ends with or contains a text.

    It is case-sensitive, and no character is special.

    Attributes:
        operand: The string.
        text: The text to find.
        open_start: Whether other text may precede it.
        open_end: Whether other text may follow it.
    """

    operand: Operand
    text: str
    open_start: bool
    open_end: bool

    @override
    def matches(self, entity: object) -> bool:
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
    """The condition that a value is not null; for a map or a list, that it is not empty."""

    operand: Operand

    @override
    def matches(self, entity: object) -> bool:
        found = self.operand.read(entity)
        return bool(found) if isinstance(found, Mapping | list | tuple) else found is not None


def all_of(*parts: Specification) -> Specification:
    """Join conditions by AND, flat: a chain of any length is one level deep."""
    flat = _flattened(parts, And)
    kept = tuple(part for part in flat if not isinstance(part, AlwaysTrue))
    if not kept:
        return ALWAYS
    return kept[0] if len(kept) == 1 else And(kept)


def any_of(first: Specification, *others: Specification) -> Specification:
    """Join conditions by OR, flat."""
    flat = _flattened((first, *others), Or)
    if any(isinstance(part, AlwaysTrue) for part in flat):
        return ALWAYS
    return flat[0] if len(flat) == 1 else Or(flat)


def _flattened(parts: tuple[Specification, ...], kind: type[And] | type[Or]) -> tuple[Specification, ...]:
    flat: list[Specification] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, kind) else (part,))
    return tuple(flat)
