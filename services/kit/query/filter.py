r"""The filter language of list RPCs: AIP-160, turned into specifications.

    status = PENDING AND (priority = HIGH OR labels.team = "blue") AND NOT name = "test-*"

As AIP-160 defines, **OR binds tighter than AND**; adjacent conditions are joined by AND; `-` is
NOT; `*` at the ends of a string, and at the end of a UUID, is a wildcard (`\*` is the character);
`field:*` is true if the field has a value, `list:item` if a list has the item. Keywords are upper
case. Literals without a field (full-text search), functions and comparisons of two fields are not
supported.
"""

import re
from typing import Any

from services.kit.errors import InvalidFilter
from services.kit.query.field import EQUALITY, Field
from services.kit.query.fields import StringField, StringListField, StringMapField, UuidField
from services.kit.query.resource import Resource
from services.kit.query.scanner import Literal, Scanner, problem
from services.kit.query.specification import (
    ALWAYS,
    Comparison,
    Not,
    Operator,
    Pattern,
    Present,
    Specification,
    all_of,
    any_of,
)

FILTER_LENGTH_MAX = 4096
DEPTH_MAX = 16
COMPARISONS_MAX = 100

# PostgreSQL's text cannot contain NUL, and UTF-8 cannot encode half a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_QUOTED_MAX = 40


def parse_filter(text: str, resource: Resource) -> Specification:
    """Parse a filter.

    Args:
        text: The filter; empty matches everything.
        resource: The resource whose fields the filter may name.

    Returns:
        The specification.

    Raises:
        InvalidFilter: If the filter is malformed, too long or too deep, names an unknown field, or
            compares a field with an invalid value; the problem names the place and the remedy.
    """
    if not text:
        return ALWAYS
    if len(text) > FILTER_LENGTH_MAX:
        raise problem(FILTER_LENGTH_MAX, f"it is too long: it may have {FILTER_LENGTH_MAX} characters")
    if unstorable := _UNSTORABLE.search(text):
        raise problem(unstorable.start(), f"{unstorable[0]!r} is invalid in strings")
    return _Parser(text, resource).parse()


class _Parser:
    """A recursive-descent parser of one filter; the methods are the rules of AIP-160's grammar."""

    def __init__(self, text: str, resource: Resource) -> None:
        self._scanner = Scanner(text)
        self._resource = resource
        self._depth = 0
        self._comparisons = 0

    def parse(self) -> Specification:
        if self._scanner.at_end():
            return ALWAYS
        specification = self._expression()
        if not self._scanner.at_end():
            raise problem(self._scanner.here(), "a ) has no opening (")
        return specification

    def _expression(self) -> Specification:
        parts = [self._factor()]
        while not (self._scanner.at_end() or self._at_closing()):
            self._scanner.take_keyword("AND")  # optional between two conditions
            parts.append(self._factor())
        return all_of(*parts)

    def _at_closing(self) -> bool:
        return self._scanner.text.startswith(")", self._scanner.here())

    def _factor(self) -> Specification:
        parts = [self._term()]
        while self._scanner.take_keyword("OR"):
            parts.append(self._term())
        return any_of(*parts)

    def _term(self) -> Specification:
        negated = self._scanner.take_keyword("NOT") or self._scanner.take("-")
        inner = self._composite() if self._scanner.take("(") else self._restriction()
        return Not(inner) if negated else inner

    def _composite(self) -> Specification:
        opened = self._scanner.here() - 1
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise problem(opened, f"it nests deeper than {DEPTH_MAX} parentheses")
        inner = self._expression()
        if not self._scanner.take(")"):
            raise problem(opened, "a ( has no closing )")
        self._depth -= 1
        return inner

    def _restriction(self) -> Specification:
        start = self._scanner.here()
        self._comparisons += 1
        if self._comparisons > COMPARISONS_MAX:
            raise problem(start, f"it has more than {COMPARISONS_MAX} comparisons")
        name = self._member(start)
        at = self._scanner.here()
        comparator = self._scanner.comparator()
        if comparator is None:
            raise self._bare(start, at, name)
        field = self._field(start, name)
        value_at = self._scanner.here()
        if self._scanner.take("("):
            raise problem(value_at, "a list of values cannot be compared; write one comparison for each")
        if comparator == ":":
            return _has(at, field, self._scanner.value())
        return _compare(at, field, Operator(comparator), self._scanner.value())

    def _member(self, start: int) -> list[str]:
        first = self._scanner.name()
        if first is None or first in {"AND", "OR", "NOT"}:
            raise problem(
                start,
                f"a comparison was expected, such as `field = value`; the fields are {self._resource.filterable_names}",
            )
        parts = [first]
        while self._scanner.take("."):
            parts.append(self._scanner.key())
        return parts

    def _bare(self, start: int, at: int, name: list[str]) -> InvalidFilter:
        if name[0].lower() in {"and", "or", "not"}:
            return problem(start, f"write {name[0].upper()} in capitals")
        if self._scanner.take("("):
            return problem(start, "functions are not supported")
        return problem(
            at,
            f"one of = != < <= > >= : was expected after {_shown('.'.join(name))};"
            " words without a field are not supported",
        )

    def _field(self, start: int, parts: list[str]) -> Field[Any]:
        field = self._resource.by_name.get(".".join(parts))
        if field is None and len(parts) == 2:  # noqa: PLR2004 - a map and a key
            entries = self._resource.by_name.get(parts[0])
            if isinstance(entries, StringMapField) and entries.filterable:
                return entries.entry(parts[1])
        if field is None or not field.filterable:
            raise problem(
                start,
                f"{_shown('.'.join(parts))} is no field to filter on; the fields are {self._resource.filterable_names}",
            )
        return field


def _has(at: int, field: Field[Any], literal: Literal) -> Specification:
    if isinstance(field, StringListField | StringMapField) and literal.stars and literal.text != "*":
        what = "keys" if isinstance(field, StringMapField) else "items"
        raise problem(literal.position, rf"{what} have no wildcards; write \* for the character")
    if literal.text == "*" and literal.stars:
        return Present(field)
    if isinstance(field, StringMapField):
        return Present(field.entry(literal.text))
    if isinstance(field, StringListField):
        return Present(field.item(literal.text))
    wildcards = ", with * at the ends as a wildcard" if isinstance(field, StringField) else ""
    raise problem(at, f"write {field.name}:* for any value, and {field.name} = ... to compare{wildcards}")


def _compare(at: int, field: Field[Any], comparator: Operator, literal: Literal) -> Specification:
    if comparator not in field.operators:
        if isinstance(field, StringMapField):
            raise problem(at, f'{field.name} is a map: write {field.name}.key = "value"')
        if isinstance(field, StringListField):
            raise problem(at, f"{field.name} is a list: write {field.name}:item for those with an item")
        raise problem(at, f"{field.name} can only be compared by = and !=, not by {comparator.value}")
    if literal.stars and isinstance(field, StringField):
        return _pattern(at, field, comparator, literal)
    if literal.stars == (len(literal.text) - 1,) and isinstance(field, UuidField):
        inside = field.starts_with(literal.text[:-1])
        if inside is None:
            raise _invalid(field, literal)
        return _negated(field, comparator, inside)
    value = field.parse(literal.text)
    if value is None:
        raise _invalid(field, literal)
    return Comparison(field.compared, comparator, value)


def _invalid(field: Field[Any], literal: Literal) -> InvalidFilter:
    return problem(literal.position, f"{field.name} is compared with {field.expects}, not with {_shown(literal.text)}")


def _negated(field: Field[Any], comparator: Operator, inside: Specification) -> Specification:
    """Return the condition of = or != for a part of the field's values."""
    # Like every != : present, and not equal.
    return inside if comparator is Operator.EQUAL else all_of(Present(field), Not(inside))


def _pattern(at: int, field: StringField, comparator: Operator, literal: Literal) -> Specification:
    last = len(literal.text) - 1
    if any(0 < star < last for star in literal.stars):
        raise problem(
            literal.position,
            r"a * is a wildcard only at the ends of a string; write \* in quotes for the character",
        )
    open_start, open_end = 0 in literal.stars, last in literal.stars
    text = literal.text[:-1] if open_end else literal.text
    text = text[1:] if open_start else text
    pattern = Pattern(field.compared, field.parse(text) or "", open_start, open_end)
    if comparator in EQUALITY:
        return _negated(field, comparator, pattern)
    raise problem(at, r"wildcards can only be compared by = and != ; write \* in quotes for the character")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _QUOTED_MAX else text[:_QUOTED_MAX] + "...")
