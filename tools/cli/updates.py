"""Updates of resources: the fields that differ become the update_mask."""

from collections.abc import Iterable
from typing import TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)


def copied(message: M) -> M:
    """Return a copy of a message, to be changed."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def mask_of(before: Message, after: Message, writable: Iterable[str]) -> FieldMask:
    """Return the update_mask that turns one message into the other.

    Args:
        before: The present state of a resource.
        after: Its wanted state, of the same type.
        writable: The names of the fields that may be changed.

    Returns:
        The names of those whose values differ; no paths if none does.
    """
    old, new = _set_fields(before), _set_fields(after)
    return FieldMask(paths=[name for name in writable if old.get(name) != new.get(name)])


def _set_fields(message: Message) -> dict[str, object]:
    return {field.name: value for field, value in message.ListFields()}
