"""A limit on concurrent calls: calls beyond it are refused before they slow down those in flight.

Streams have a limit of their own: they last long and cost little while idle, and watchers must not keep other calls
out.
"""

from typing import Any

from services.kit.errors import Overloaded
from services.kit.rpc.layers.call import Call, Context
from services.kit.rpc.layers.load import Load


def limited(call: Call, load: Load) -> Call:
    """Wrap a unary call in the limit."""

    async def limited_call(request: Any, context: Context) -> Any:
        if load.calls >= load.calls_max:
            raise Overloaded
        load.calls += 1
        try:
            return await call(request, context)
        finally:
            load.calls -= 1

    return limited_call


def limited_stream(call: Call, load: Load) -> Call:
    """Wrap a call that streams its responses in the limit."""

    async def limited_call(request: Any, context: Context) -> Any:
        if load.streams >= load.streams_max:
            raise Overloaded
        load.streams += 1
        try:
            return await call(request, context)
        finally:
            load.streams -= 1

    return limited_call
