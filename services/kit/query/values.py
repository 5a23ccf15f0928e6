"""Strict parsers of the values of filters and page tokens."""

import re
from datetime import UTC, datetime
from string import ascii_lowercase, ascii_uppercase
from typing import Any, TypeVar
from uuid import UUID

T = TypeVar("T")

_INTEGER = re.compile(r"-?[0-9]{1,19}")
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
# The database keeps microseconds: further decimals must be zeros, or `=` would silently match
# another moment.
_TIMESTAMP = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[Tt](?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?:\.(?P<micros>[0-9]{1,6})0{0,3})?(?P<offset>[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LOWER_CASE = str.maketrans(ascii_uppercase, ascii_lowercase)


def parse_integer(text: str) -> int | None:
    """Return a decimal number that fits into 64 bits, or None."""
    if not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if _INT64_MIN <= number <= _INT64_MAX else None


def parse_uuid(text: str) -> UUID | None:
    """Return a UUID in its canonical form, or None; `uuid.UUID` alone would accept braces and prefixes too."""
    return UUID(text) if _UUID.fullmatch(text) else None


def parse_timestamp(text: str) -> datetime | None:
    """Return an RFC 3339 time in UTC, or None; a date is its first moment in UTC."""
    found = _TIMESTAMP.fullmatch(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text)
    if found is None:
        return None
    offset = "+00:00" if found["offset"] in "Zz" else found["offset"]
    micros = (found["micros"] or "").ljust(6, "0")
    try:
        moment = datetime.fromisoformat(f"{found['date']}T{found['time']}.{micros}{offset}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):  # not a day, or outside the years 1 to 9999
        return None


def lower_case(text: str) -> str:
    """Return the text with ASCII letters in lower case, as PostgreSQL's collation "C" has it."""
    return text.translate(_LOWER_CASE)


def checked(value: Any, kind: type[T]) -> T:
    """Return the value if it is exactly of this type (True is no integer).

    Raises:
        ValueError: If it is not.
    """
    if type(value) is not kind:
        raise ValueError(f"{value!r} is no {kind.__name__}")
    return value
