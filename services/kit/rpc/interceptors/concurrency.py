"""Refuses calls beyond as many as the server can handle, before they make those in flight slower."""

from typing import Any

from services.kit.errors import Overloaded
from services.kit.rpc.interceptors.call import Call, Context
from services.kit.rpc.interceptors.load import Load


def limited(call: Call, load: Load) -> Call:
    """Puts the limit around a call."""

    async def limited_call(request: Any, context: Context) -> Any:
        if load.calls >= load.calls_max:
            raise Overloaded
        load.calls += 1
        try:
            return await call(request, context)
        finally:
            load.calls -= 1

    return limited_call
