"""Gives what is created its ID before it is sent, so that the call is safe to repeat."""

from collections.abc import Sequence

from google.protobuf.message import Message

from innosystem.client.contract import id_paths
from innosystem.client.identity import new_id


def set_ids(request: Message) -> None:
    """Set the ID of what the request creates, where the caller left it empty.

    The ID is written into the caller's own message: who sends the same message again, after an
    error that left open what happened, asks for the same thing and not for a second one.

    Args:
        request: The request of any call. Requests that create nothing stay as they are.
    """
    if path := id_paths().get(request.DESCRIPTOR.full_name):
        _set(request, path)


def _set(message: Message, path: Sequence[str]) -> None:
    name, *rest = path
    value = getattr(message, name)
    if not rest:
        if not value:
            setattr(message, name, str(new_id()))
    elif not isinstance(value, Message):
        for item in value:
            _set(item, rest)
    elif message.HasField(name):
        # Else there is nothing to be created, which the server says better than we could.
        _set(value, rest)
