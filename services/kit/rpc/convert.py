"""Conversion between the messages of the contract, which are checked already, and Python's types."""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from uuid_utils.compat import uuid7

from services.kit.errors import FieldViolation, InvalidField
from services.kit.rates import NO_EXCEPTIONS, CustomerLimits, Rate

if TYPE_CHECKING:
    # The types of the stubs' enums exist for type checkers only.
    from google.protobuf.internal.enum_type_wrapper import _EnumTypeWrapper as EnumTypeWrapper

E = TypeVar("E", bound=Enum)
V = TypeVar("V", bound=int)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_SECONDS = 24 * 60 * 60


def id_or_new(text: str) -> UUID:
    """Return the caller's ID, or a new UUIDv7 if it is empty."""
    return UUID(text) if text else uuid7()


def optional_id(text: str) -> UUID | None:
    """Return the ID, or None if it is empty."""
    return UUID(text) if text else None


def required_id(text: str, field: str) -> UUID:
    """Return the ID in a field that the contract does not require because other calls may leave it empty.

    Raises:
        InvalidField: If it is not a UUID.
    """
    try:
        return UUID(text)
    except ValueError:
        raise InvalidField.of(field, "must be a valid UUID") from None


def numbers(members: type[E], contract: "EnumTypeWrapper[V]", prefix: str) -> Mapping[E, V]:
    """Return the numbers of an enum's members in the contract, for fast lookups.

    Args:
        members: The Python enum.
        contract: The contract's enum, whose values are the names of the members with a prefix.
        prefix: The prefix.

    Raises:
        ValueError: If the contract lacks a member.
    """
    return {member: contract.Value(f"{prefix}{member.name}") for member in members}


def timestamp(moment: datetime | None) -> Timestamp | None:
    """Return the time as a message; None stays None, which leaves the field unset."""
    if moment is None:
        return None
    # Timestamp.FromDatetime computes by calendar, which takes five times as long.
    since = moment - _EPOCH
    return Timestamp(seconds=since.days * _DAY_SECONDS + since.seconds, nanos=since.microseconds * 1000)


def duration(length: timedelta) -> Duration:
    """Return the duration as a message."""
    message = Duration()
    message.FromTimedelta(length)
    return message


def moment(message: Timestamp, field: str) -> datetime:
    """Return the time in UTC, in whole microseconds.

    Raises:
        InvalidField: If it is outside of the years 1 to 9999.
    """
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidField.of(field, "must be a time in the years 1 to 9999") from None


def masked(mask: FieldMask, allowed: Collection[str]) -> frozenset[str]:
    """Return the fields that an update_mask names.

    Raises:
        InvalidField: If it names no field, or one that cannot be changed.
    """
    paths = frozenset(mask.paths)
    expected = f"must name at least one of {', '.join(sorted(allowed))}"
    if not paths:
        raise InvalidField.of("update_mask", expected)
    if unknown := sorted(paths - frozenset(allowed)):
        raise InvalidField(
            tuple(FieldViolation("update_mask", f"{path} can't be changed; it {expected}") for path in unknown)
        )
    return paths


def require_set(message: Message, names: Iterable[str], prefix: str) -> None:
    """Check that fields of a resource are set which other calls may leave out.

    Args:
        message: The resource.
        names: The fields.
        prefix: The path of the resource in the request, such as `customer.`.

    Raises:
        InvalidField: If fields are empty; names them.
    """
    violations = tuple(
        FieldViolation(prefix + name, "must be set and not be empty")
        for name in sorted(names)
        if not getattr(message, name)
    )
    if violations:
        raise InvalidField(violations)


def customer_limits(customer: Any) -> CustomerLimits:
    """Return the limits of a customer's message that differ from the settings."""
    if not customer.HasField("limits"):
        return NO_EXCEPTIONS
    limits = customer.limits
    return CustomerLimits(
        requests=_rate(limits.requests) if limits.HasField("requests") else None,
        submissions=_rate(limits.submissions) if limits.HasField("submissions") else None,
        input_bytes_per_day=limits.input_bytes_per_day if limits.HasField("input_bytes_per_day") else None,
        jobs_waiting=limits.jobs_waiting if limits.HasField("jobs_waiting") else None,
    )


def _rate(limit: Any) -> Rate:
    return Rate(limit.per_second, limit.burst)
