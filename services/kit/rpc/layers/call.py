"""The interface between the layers around a call.

A layer wraps the next one, once for each method. Unary and streaming methods look the same to it: the innermost call of
a stream writes the responses itself and returns None, so that every end of the stream passes through all layers, in the
task of the call.
"""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc

Context = grpc.aio.ServicerContext[Any, Any]
Call = Callable[[Any, Context], Awaitable[Any]]

# A deadline is sent as the remaining time, rounded up by gRPC. So the caller's clock expires first, and cancels.
_ROUNDING_SECONDS = 0.1


def ended_by(context: Context) -> grpc.StatusCode:
    """Return the cause of a cancelled call: its deadline, or its caller or the end of the drain."""
    remaining: float | None = context.time_remaining()
    expired = remaining is not None and remaining <= _ROUNDING_SECONDS
    return grpc.StatusCode.DEADLINE_EXCEEDED if expired else grpc.StatusCode.CANCELLED


def streaming(behavior: Callable[[Any, Context], Any]) -> Call:
    """Wrap a servicer's method that streams its responses in a call.

    Args:
        behavior: An async generator, or a coroutine function that writes to the context.
    """

    async def write_all(request: Any, context: Context) -> None:
        responses = behavior(request, context)
        if not hasattr(responses, "__aiter__"):
            await responses
            return
        # Left to the garbage collector, an abandoned generator would be closed later and in another task.
        async with aclosing(responses):
            async for response in responses:
                await context.write(response)

    return write_all
