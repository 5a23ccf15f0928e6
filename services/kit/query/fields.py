"""The allow-list of a resource: the fields that may be filtered and sorted, with their types.

A field is also the typed handle that code writes specifications with:

    STATUS = EnumField("status", JobStatus)
    CREATED_AT = TimestampField("created_at", sortable=True)
    JOBS = Resource("jobs", (ID, STATUS, CREATED_AT), default_order=(CREATED_AT.descending(),))

    STATUS.is_(JobStatus.PENDING) & CREATED_AT.after(then)

Fields have the names of the contract. The entity's attribute and the column share one name:
`attribute`, which is the field's name unless it is told. Sortable fields are never null, because no
place in an order is right for a null.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from services.kit.query import values
from services.kit.query.field import EQUALITY, Field, OrderedField
from services.kit.query.specification import Operator, Pattern, Specification

E = TypeVar("E", bound=Enum)


class StringField(OrderedField[str]):
    """Text; compared and sorted by code point, so case counts."""

    expects = "a string"

    def parse(self, text: str) -> str | None:
        """The text as it is."""
        return text

    def from_json(self, value: Any) -> str:
        """The text."""
        return values.checked(value, str)

    def starts_with(self, text: str) -> Specification:
        """Begins with the text."""
        return Pattern(self, text, open_start=False, open_end=True)

    def ends_with(self, text: str) -> Specification:
        """Ends with the text."""
        return Pattern(self, text, open_start=True, open_end=False)

    def contains(self, text: str) -> Specification:
        """Has the text anywhere."""
        return Pattern(self, text, open_start=True, open_end=True)


class IntegerField(OrderedField[int]):
    """A whole number of 64 bits."""

    expects = "a whole number from -2^63 to 2^63-1"

    def parse(self, text: str) -> int | None:
        """A decimal number."""
        return values.parse_integer(text)

    def from_json(self, value: Any) -> int:
        """The number."""
        return values.checked(value, int)


class TimestampField(OrderedField[datetime]):
    """A moment, with time zone, in microseconds."""

    expects = "an RFC 3339 time of at most 6 decimals, such as 2026-01-31T12:00:00Z"

    def parse(self, text: str) -> datetime | None:
        """An RFC 3339 time, in UTC."""
        return values.parse_timestamp(text)

    def to_json(self, value: datetime) -> Any:
        """ISO 8601 with microseconds and offset."""
        return value.isoformat()

    def from_json(self, value: Any) -> datetime:
        """The moment."""
        return datetime.fromisoformat(values.checked(value, str))

    before = OrderedField.less_than
    at_or_before = OrderedField.at_most
    after = OrderedField.greater_than
    at_or_after = OrderedField.at_least


class BooleanField(Field[bool]):
    """True or false; false sorts first."""

    expects = "true or false"

    def parse(self, text: str) -> bool | None:
        """`true` or `false`."""
        return {"true": True, "false": False}.get(text)

    def from_json(self, value: Any) -> bool:
        """The truth value."""
        return values.checked(value, bool)


class UuidField(Field[UUID]):
    """A UUID."""

    expects = "a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057"

    def parse(self, text: str) -> UUID | None:
        """A UUID in its usual form, with hyphens."""
        return values.parse_uuid(text)

    def to_json(self, value: UUID) -> Any:
        """Its text."""
        return str(value)

    def from_json(self, value: Any) -> UUID:
        """The UUID."""
        return UUID(values.checked(value, str))


@dataclass(frozen=True)
class EnumField(Field[E], Generic[E]):
    """A member of an enum.

    Filters name members as the contract does; stored, sorted and in page tokens is the value.

    Attributes:
        members: The enum; its values are all strings or all integers.
    """

    members: type[E]

    @property
    def expects(self) -> str:
        """The names."""
        return f"one of {', '.join(self.members.__members__)}"

    def parse(self, text: str) -> E | None:
        """The member of this name."""
        return self.members.__members__.get(text)

    def sort_key(self, value: E) -> Any:
        """The stored value."""
        return value.value

    def to_json(self, value: E) -> Any:
        """The stored value."""
        return value.value

    def from_json(self, value: Any) -> E:
        """The member with this value."""
        return self.members(value)


@dataclass(frozen=True)
class MapEntry(StringField):
    """The value under one key of a map of strings; null where the map has no such key.

    Attributes:
        key: The key.
    """

    key: str

    operators: ClassVar[frozenset[Operator]] = EQUALITY

    def read(self, entity: object) -> str | None:
        """The value that an entity's map has under the key."""
        entries: Mapping[str, str] | None = getattr(entity, self.attribute)
        return None if entries is None else entries.get(self.key)


class StringMapField(Field[Mapping[str, str]]):
    """A map from string to string, such as labels.

    The column is jsonb and holds an object or SQL NULL, never a JSON null.

    Filters write `labels.team = "blue"`, `labels."cost center" = "7"`, `labels:team` (has the key)
    and `labels:*` (has any). The map itself is not compared.
    """

    operators: ClassVar[frozenset[Operator]] = frozenset()
    expects = "nothing"

    def parse(self, text: str) -> Mapping[str, str] | None:
        """None: maps have no literals."""
        return None

    def from_json(self, value: Any) -> Mapping[str, str]:
        """ValueError: maps are not sorted by, so page tokens hold none."""
        raise ValueError(f"{self.name} is a map, found {value!r} in a page token")

    def entry(self, key: str) -> MapEntry:
        """The handle for the value under a key: `LABELS.entry("team").is_("blue")`."""
        return MapEntry(f"{self.name}.{key}", key, attribute=self.attribute)
