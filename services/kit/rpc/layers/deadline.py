"""Deadlines: refuse a call without time left, and limit a call without a deadline; gRPC ends all others."""

import asyncio
from typing import Any

import grpc

from services.kit.rpc.layers.call import Call, Context


def timed(call: Call, seconds_default: float | None) -> Call:
    """Wrap a call in the deadline.

    Args:
        call: The next layer.
        seconds_default: How long a call without a deadline may take; None for no limit.
    """

    async def timed_call(request: Any, context: Context) -> Any:
        remaining: float | None = context.time_remaining()
        if remaining is None:
            return await _limited(call, request, context, seconds_default)
        if remaining <= 0:
            return await _refuse(context, "No time was left when the call arrived")
        # gRPC itself cancels the call at its caller's deadline. A timer of the event loop would cost as much as all
        # other layers except the log.
        return await call(request, context)

    return timed_call


async def _limited(call: Call, request: Any, context: Context, seconds: float | None) -> Any:
    """Run a call without a deadline of its caller."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await call(request, context)
    except TimeoutError:
        if not limit.expired():
            raise
    return await _refuse(context, f"The call took longer than {seconds:.3f} s")


async def _refuse(context: Context, problem: str) -> None:
    message = f"{problem}: send it again with the same IDs and more time."
    await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, message)
