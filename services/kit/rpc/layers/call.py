"""What the layers around a call hand to one another.

A layer takes the next one and answers a call around it, once a method. It does not see whether the method answers once
or streams: the innermost call of a stream writes the responses itself and answers None, so that whatever ends the
stream passes through all layers, in the task of the call.
"""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc

Context = grpc.aio.ServicerContext[Any, Any]
Call = Callable[[Any, Context], Awaitable[Any]]

# A deadline travels as the time that is left, which gRPC rounds up. So a caller's own clock is first, and cancels.
_ROUNDING_SECONDS = 0.1


def ended_by(context: Context) -> grpc.StatusCode:
    """Whether a call that was cancelled was so by its deadline, or by its caller or the end of the drain."""
    remaining: float | None = context.time_remaining()
    expired = remaining is not None and remaining <= _ROUNDING_SECONDS
    return grpc.StatusCode.DEADLINE_EXCEEDED if expired else grpc.StatusCode.CANCELLED


def streaming(behavior: Callable[[Any, Context], Any]) -> Call:
    """Makes a call of a servicer's method that streams its responses.

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
