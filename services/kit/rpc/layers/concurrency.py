"""Refuses calls beyond as many as the server can handle, before they make those in flight slower.

Streams are counted apart: they last, and hardly cost anything while nothing happens. Watchers must not keep the others
out.
"""

from typing import Any

from services.kit.errors import Overloaded
from services.kit.rpc.layers.call import Call, Context
from services.kit.rpc.layers.load import Load


def limited(call: Call, load: Load) -> Call:
    """Puts the limit around a call that answers once."""

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
    """Puts the limit around a call that streams its answers."""

    async def limited_call(request: Any, context: Context) -> Any:
        if load.streams >= load.streams_max:
            raise Overloaded
        load.streams += 1
        try:
            return await call(request, context)
        finally:
            load.streams -= 1

    return limited_call
