"""The limits of the principal and its customer, after authorization and before the request is parsed."""

from typing import Any

from services.kit.auth.principal import ANYONE, principal
from services.kit.limits.limits import Limits
from services.kit.rpc.layers.call import Call, Context


def rated(call: Call, limits: Limits, *, streams: bool) -> Call:
    """Wrap a call in the limits.

    Args:
        call: The next layer.
        limits: The limits of the service.
        streams: Whether the method streams its responses.
    """

    async def rated_call(request: Any, context: Context) -> Any:
        who = principal.get()
        if who is ANYONE:
            return await call(request, context)
        if (place := limits.begin(who, streams=streams)) is None:
            return await call(request, context)
        try:
            return await call(request, context)
        finally:
            limits.end(place)

    return rated_call
