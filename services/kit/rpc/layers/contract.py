"""Reads requests and refuses those that break the rules of the contract."""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from services.kit.rpc.layers.call import Call, Context


def checked(call: Call, read: Callable[[bytes], Message]) -> Call:
    """Puts the check around a call.

    Args:
        call: The next layer. It gets the message; the layers outside of this one see the bytes it came in, because
            bytes that are no such message have to be answered like all other errors.
        read: Makes the message, or raises a domain error.
    """

    async def checked_call(request: bytes, context: Context) -> Any:
        return await call(read(request), context)

    return checked_call
