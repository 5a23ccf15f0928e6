"""Calls of other services that go to another replica when one says nothing."""

from collections.abc import Sequence
from typing import Any

import grpc


async def call_in_attempts(method: Any, request: Any, seconds: Sequence[float]) -> Any:
    """Call a method that is safe to repeat, and repeat it where a replica has not answered in a part of the time.

    A replica that is frozen takes requests and says nothing: nobody but the caller can notice. Calls go round the
    replicas, so the next attempt nearly always comes to another one.

    Args:
        method: The stub's method.
        request: What to send, each time the same.
        seconds: How long each attempt may take.

    Raises:
        grpc.aio.AioRpcError: What the last attempt failed with, or any for another reason than its time.
    """
    for at, limit in enumerate(seconds, 1):
        try:
            return await method(request, timeout=limit)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED or at == len(seconds):
                raise
    raise ValueError("no attempt is allowed")
