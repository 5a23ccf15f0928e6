"""Refuses calls that arrive after the server began to stop: another server will take them."""

from typing import Any

from services.kit.errors import Draining
from services.kit.rpc.interceptors.call import Call, Context
from services.kit.rpc.interceptors.load import Load


def drained(call: Call, load: Load) -> Call:
    """Puts the refusal around a call."""

    async def drained_call(request: Any, context: Context) -> Any:
        if load.draining:
            raise Draining
        return await call(request, context)

    return drained_call
