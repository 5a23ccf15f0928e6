"""Assign IDs to new resources before they are sent, so that calls are safe to repeat."""

from collections.abc import Sequence

from google.protobuf.message import Message

from innosystem.client.contract import id_paths
from innosystem.client.identity import new_id


def assign_ids(request: Message) -> None:
    """Set the IDs of the resources that a request creates, unless the caller has set them.

    The ID is written into the caller's message: sending the same message again, after an error with an
    unknown outcome, asks for the same resource and not for a second one.

    Args:
        request: The request of any call. Requests that create nothing remain unchanged.
    """
    if path := id_paths().get(request.DESCRIPTOR.full_name):
        _assign(request, path)


def _assign(message: Message, path: Sequence[str]) -> None:
    name, *rest = path
    value = getattr(message, name)
    if not rest:
        if not value:
            setattr(message, name, str(new_id()))
    elif not isinstance(value, Message):
        for item in value:
            _assign(item, rest)
    elif message.HasField(name):
        # Without the field nothing is created, and the server's error is better than one from here.
        _assign(value, rest)
