"""The allow-list of a resource: the fields that callers can filter and sort by, with their types.

A field is also the typed handle from which code composes specifications:

    STATUS = EnumField("status", JobStatus)
    CREATED_AT = TimestampField("created_at", sortable=True)
    JOBS = Resource("jobs", (ID, STATUS, CREATED_AT), default_order=(CREATED_AT.descending(),))

    STATUS.is_(JobStatus.PENDING) & CREATED_AT.after(then)

Fields have the names of the contract. The entity's attribute and the column share one name,
`attribute`, which defaults to the field's name. Sortable fields are never null, because a null has
no right place in an order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from typing_extensions import override

from services.kit.query import values
from services.kit.query.field import EQUALITY, Field, OrderedField
from services.kit.query.specification import Comparison, Operator, Pattern, Specification

E = TypeVar("E", bound=Enum)

_FIRST_UUID, _LAST_UUID = str(UUID(int=0)), str(UUID(int=2**128 - 1))


class StringField(OrderedField[str]):
    """Text, compared and sorted by code point, which is case-sensitive."""

    expects = "a string"

    @override
    def parse(self, text: str) -> str | None:
        return text

    @override
    def from_json(self, value: Any) -> str:
        return values.checked(value, str)

    def starts_with(self, text: str) -> Specification:
        """Match values that begin with the text."""
        return Pattern(self, text, open_start=False, open_end=True)

    def ends_with(self, text: str) -> Specification:
        """Match values that end with the text."""
        return Pattern(self, text, open_start=True, open_end=False)

    def contains(self, text: str) -> Specification:
        """Match values that contain the text."""
        return Pattern(self, text, open_start=True, open_end=True)


class CaselessField(StringField):
    """Text that is compared without regard to the case of ASCII letters, and sorted by code point."""

    @property
    @override
    def compared(self) -> "LowerCase":
        return LowerCase(self.name, attribute=self.attribute)

    @override
    def parse(self, text: str) -> str | None:
        return values.lower_case(text)


class LowerCase(StringField):
    """The operand of filters on a `CaselessField`."""

    @override
    def read(self, entity: object) -> str | None:
        value = super().read(entity)
        return None if value is None else values.lower_case(value)


class IntegerField(OrderedField[int]):
    """A whole number of 64 bits."""

    expects = "a whole number from -2^63 to 2^63-1"

    @override
    def parse(self, text: str) -> int | None:
        return values.parse_integer(text)

    @override
    def from_json(self, value: Any) -> int:
        return values.checked(value, int)


class TimestampField(OrderedField[datetime]):
    """A moment, with time zone, in microseconds."""

    expects = "an RFC 3339 time of at most 6 decimals, such as 2026-01-31T12:00:00Z, or a day, such as 2026-01-31"

    @override
    def parse(self, text: str) -> datetime | None:
        return values.parse_timestamp(text)

    @override
    def to_json(self, value: datetime) -> Any:
        """Return the moment in ISO 8601, with microseconds and offset."""
        return value.isoformat()

    @override
    def from_json(self, value: Any) -> datetime:
        return datetime.fromisoformat(values.checked(value, str))

    before = OrderedField.less_than
    at_or_before = OrderedField.at_most
    after = OrderedField.greater_than
    at_or_after = OrderedField.at_least


class BooleanField(Field[bool]):
    """A truth value; false sorts first."""

    expects = "true or false"

    @override
    def parse(self, text: str) -> bool | None:
        return {"true": True, "yes": True, "false": False, "no": False}.get(text.lower())

    @override
    def from_json(self, value: Any) -> bool:
        return values.checked(value, bool)


class UuidField(Field[UUID]):
    """A UUID."""

    expects = "a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057, or the start of one and *"

    @override
    def parse(self, text: str) -> UUID | None:
        return values.parse_uuid(text)

    def starts_with(self, text: str) -> Specification | None:
        """Match UUIDs by the start of their canonical form; return None if no UUID starts like that.

        It is a range of UUIDs, which an index on the field serves.
        """
        first, last = (values.parse_uuid(text + filler[len(text) :]) for filler in (_FIRST_UUID, _LAST_UUID))
        if first is None or last is None:
            return None
        return Comparison(self, Operator.AT_LEAST, first) & Comparison(self, Operator.AT_MOST, last)

    @override
    def to_json(self, value: UUID) -> Any:
        return str(value)

    @override
    def from_json(self, value: Any) -> UUID:
        return UUID(values.checked(value, str))


@dataclass(frozen=True)
class EnumField(Field[E], Generic[E]):
    """A member of an enum.

    Filters use the names of the contract in any case; the database, orders and page tokens use the value.

    Attributes:
        members: The enum; its values are all strings or all integers.
    """

    members: type[E]

    @property
    @override
    def expects(self) -> str:
        return f"one of {', '.join(self.members.__members__)}"

    @override
    def parse(self, text: str) -> E | None:
        return self.members.__members__.get(text.upper())

    @override
    def sort_key(self, value: E) -> Any:
        return value.value

    @override
    def to_json(self, value: E) -> Any:
        return value.value

    @override
    def from_json(self, value: Any) -> E:
        return self.members(value)


@dataclass(frozen=True)
class MapEntry(StringField):
    """The value under one key of a map of strings; null if the map lacks the key.

    Attributes:
        key: The key.
    """

    key: str

    operators: ClassVar[frozenset[Operator]] = EQUALITY

    @override
    def read(self, entity: object) -> str | None:
        entries: Mapping[str, str] | None = getattr(entity, self.attribute)
        return None if entries is None else entries.get(self.key)


class MemberField(MapEntry):
    """A text in an object of the entity, such as the type of an error; null if there is no object.

    The column is jsonb, and contains an object with the text under the key.
    """

    @override
    def read(self, entity: object) -> str | None:
        member = getattr(entity, self.attribute)
        value: str | None = None if member is None else getattr(member, self.key)
        return value


class StringMapField(Field[Mapping[str, str]]):
    """A map from string to string, such as labels.

    The column is jsonb and contains an object or SQL NULL, never a JSON null.

    Filters are written as `labels.team = "blue"`, `labels."cost center" = "7"`, `labels:team` (has
    the key) and `labels:*` (has any key). The map itself cannot be compared.
    """

    operators: ClassVar[frozenset[Operator]] = frozenset()
    expects = "nothing"

    @override
    def parse(self, text: str) -> Mapping[str, str] | None:
        """Return None: maps have no literals."""
        return None

    @override
    def from_json(self, value: Any) -> Mapping[str, str]:
        """Raise: maps are not sortable, so page tokens contain none."""
        raise ValueError(f"{self.name} is a map, found {value!r} in a page token")

    def entry(self, key: str) -> MapEntry:
        """Return the handle for the value under a key: `LABELS.entry("team").is_("blue")`."""
        return MapEntry(f"{self.name}.{key}", key, attribute=self.attribute)


@dataclass(frozen=True)
class ListItem(StringField):
    """One item of a list of strings; null if the list lacks it.

    Attributes:
        item: The item.
    """

    item: str

    @override
    def read(self, entity: object) -> str | None:
        return self.item if self.item in getattr(entity, self.attribute) else None


class StringListField(Field[Sequence[str]]):
    """A list of strings, such as the queues of a runner.

    The column is an array, never null; on PostgreSQL only.

    Filters are written as `queues:greetings` (the list has the item) and `queues:*` (it has any). The list
    itself cannot be compared.
    """

    operators: ClassVar[frozenset[Operator]] = frozenset()
    expects = "nothing"

    @override
    def parse(self, text: str) -> Sequence[str] | None:
        """Return None: lists have no literals."""
        return None

    @override
    def from_json(self, value: Any) -> Sequence[str]:
        """Raise: lists are not sortable, so page tokens contain none."""
        raise ValueError(f"{self.name} is a list, found {value!r} in a page token")

    def item(self, text: str) -> ListItem:
        """Return the handle for an item: `QUEUES.item("greetings").is_present()`."""
        return ListItem(f"{self.name}:{text}", text, attribute=self.attribute)
