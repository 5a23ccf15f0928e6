"""The check of requests against the rules of the contract."""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from services.kit.rpc.layers.call import Call, Context


def checked(call: Call, read: Callable[[bytes], Message]) -> Call:
    """Wrap a call in the check.

    Args:
        call: The next layer, which takes the message. The outer layers take the bytes of the request, so that bytes
            that are no such message fail like all other errors.
        read: Parses and checks the message, or raises a domain error.
    """

    async def checked_call(request: bytes, context: Context) -> Any:
        return await call(read(request), context)

    return checked_call
