"""The check of requests against the rules of the contract."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from google.protobuf.message import DecodeError, Message

from services.kit.errors import InvalidField
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


def parsed(call: Call, deserialize: Callable[[bytes], Any]) -> Call:
    """Wrap a call that has no rules, such as one of health, in the parsing of its request, or of each of its stream.

    gRPC itself would fail with UNKNOWN, tell the caller the name of the exception, and log it with a traceback.

    Args:
        call: The next layer, which takes the message or an iterator of messages.
        deserialize: Parses a message.
    """

    def read(raw: bytes) -> Any:
        try:
            return deserialize(raw)
        except DecodeError:
            raise InvalidField.of("request", "must be the bytes of the method's request, with texts in UTF-8") from None

    async def each(requests: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for raw in requests:
            yield read(raw)

    async def parsed_call(request: Any, context: Context) -> Any:
        return await call(read(request) if isinstance(request, bytes) else each(request), context)

    return parsed_call
