"""The drain: refuse calls that arrive after the server began to stop, and end streams that would outlast it."""

import asyncio
from typing import Any

import grpc

from services.kit.errors import Draining
from services.kit.rpc.layers.call import Call, Context
from services.kit.rpc.layers.load import Load

_LAST_WORD_SECONDS = 0.2


def drained(call: Call, load: Load) -> Call:
    """Wrap a call in the refusal."""

    async def drained_call(request: Any, context: Context) -> Any:
        if load.draining:
            raise Draining
        return await call(request, context)

    return drained_call


def ended_at_drain(call: Call, load: Load) -> Call:
    """Wrap a stream that lasts as long as its client wants, such as a watch of health, and end it at the drain."""

    async def ended_call(request: Any, context: Context) -> Any:
        working = asyncio.ensure_future(call(request, context))
        ending = asyncio.ensure_future(load.ending.wait())
        try:
            await asyncio.wait([working, ending], return_when=asyncio.FIRST_COMPLETED)
            # Time for the last message, such as that this server is NOT_SERVING from now on.
            await asyncio.wait([working], timeout=_LAST_WORD_SECONDS)
            if working.done():
                return working.result()
        finally:
            ending.cancel()
            working.cancel()
            await asyncio.wait([working])
        return await context.abort(grpc.StatusCode.UNAVAILABLE, "This server is shutting down.")

    return ended_call
