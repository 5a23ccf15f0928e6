"""The values of the contract as text for people."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

NOTHING: Final = "-"
_CENTS: Final = "_cents"
_SECONDS_DECIMALS: Final = 1
_UNITS: Final = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))

STYLES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("SUCCEEDED", "CHARGED"), "green"),
    **dict.fromkeys(("FAILED", "DECLINED", "CHARGE_BLOCKED", "LOST"), "red"),
    **dict.fromkeys(("RUNNING", "CHARGE_DUE", "RELEASE_DUE", "STOPPING", "paused"), "yellow"),
}
"""The colours of statuses: good, bad, and in between."""


def printable(text: str) -> str:
    """Escape control characters, which a terminal would obey."""
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)


def cell(message: Message, name: str, now: datetime | None = None) -> str:
    """Format the value of a field.

    Args:
        message: Any message of the contract.
        name: The field.
        now: The present time, for times relative to it; by default times are absolute.
    """
    field = message.DESCRIPTOR.fields_by_name[name]
    if field.has_presence and not message.HasField(name):
        return NOTHING
    value = getattr(message, name)
    if field.is_repeated and field.enum_type is not None:
        return ", ".join(_enum_name(field.enum_type.values_by_number, one) for one in value) or NOTHING
    if field.is_repeated:
        return _map(value) if isinstance(value, Mapping) else ", ".join(map(str, value)) or NOTHING
    if is_money(message.DESCRIPTOR, name):
        return _money(value, message.currency)  # type: ignore[attr-defined]
    if field.enum_type is not None:
        return _enum_name(field.enum_type.values_by_number, value)
    if isinstance(value, Timestamp):
        return shown_time(value.ToDatetime(UTC), now)
    if field.message_type is not None:
        return _shown_message(value)
    return _SHOWN.get(field.type, str)(value) or NOTHING


def shown_time(moment: datetime, now: datetime | None = None) -> str:
    """Format a time: relative to now, such as `3 m ago` or `in 2 h`, or in UTC."""
    if now is None:
        return moment.strftime("%Y-%m-%d %H:%M:%SZ")
    seconds = int((now - moment).total_seconds())
    if seconds == 0:
        return "now"
    return f"{_largest_unit(seconds)} ago" if seconds > 0 else f"in {_largest_unit(-seconds)}"


def since(start: datetime, end: datetime) -> str:
    """Format the time between two moments in at most two units, such as `0.4 s` or `3 m 12 s`."""
    return shown_seconds(max((end - start).total_seconds(), 0))


def shown_seconds(seconds: float) -> str:
    """Format a number of seconds in at most two units, such as `0.4 s` or `3 m 12 s`."""
    if seconds < _UNITS[-2][1]:
        return f"{round(seconds, _SECONDS_DECIMALS):g} s"
    whole = int(seconds)
    for (unit, length), (smaller, smaller_length) in pairwise(_UNITS):
        if whole >= length:
            rest = whole % length // smaller_length
            return f"{whole // length} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def is_money(descriptor: Any, name: str) -> bool:
    """Return whether a field is an amount in the currency that its message names."""
    return name.endswith(_CENTS) and "currency" in descriptor.fields_by_name


def title(descriptor: Any, name: str) -> str:
    """Return the title of a field: the field's name in words."""
    return (name.removesuffix(_CENTS) if is_money(descriptor, name) else name).replace("_", " ")


def _largest_unit(seconds: int) -> str:
    unit, length = next((unit, length) for unit, length in _UNITS if seconds >= length)
    return f"{seconds // length} {unit}"


def _enum_name(names: Mapping[int, Any], number: int) -> str:
    """Return the name of an enum's value without the prefix of the enum's name; an unknown number stays a number."""
    if number not in names:
        return str(number)
    # The zero value of every enum is this prefix and UNSPECIFIED.
    prefix = names[0].name.removesuffix("UNSPECIFIED")
    return str(names[number].name.removeprefix(prefix))


def _shown_message(value: Message) -> str:
    if isinstance(value, Duration):
        return shown_seconds(value.ToNanoseconds() / 1e9)
    set_fields = [field.name for field, _ in value.ListFields()]
    return ", ".join(f"{title(value.DESCRIPTOR, name)}: {cell(value, name)}" for name in set_fields) or NOTHING


def _map(value: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value[key]}" for key in sorted(value)) or NOTHING


def _money(cents: int, currency: str) -> str:
    # A slow import, needed only for amounts.
    from services.kit.currencies import money

    return money(cents, currency)


def _yes_or_no(value: bool) -> str:
    return "yes" if value else "no"


_SHOWN: Final[dict[int, Callable[[Any], str]]] = {
    FieldDescriptor.TYPE_BOOL: _yes_or_no,
    FieldDescriptor.TYPE_DOUBLE: lambda value: f"{value:.1f}",
}
