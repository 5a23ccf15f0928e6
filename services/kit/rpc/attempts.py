"""Calls of other services that try another replica when one does not respond."""

from collections.abc import Sequence
from typing import Any

import grpc


async def call_in_attempts(method: Any, request: Any, seconds: Sequence[float]) -> Any:
    """Call a method that is safe to repeat, again if a replica does not respond within a part of the time.

    A frozen replica accepts requests and does not respond, which only its callers notice. Calls rotate among the
    replicas, so the next attempt nearly always reaches another one.

    Args:
        method: The stub's method.
        request: The request of each attempt.
        seconds: How long each attempt may take.

    Raises:
        grpc.aio.AioRpcError: The error of the last attempt, or of any attempt that failed before its time was over.
    """
    for at, limit in enumerate(seconds, 1):
        try:
            return await method(request, timeout=limit)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED or at == len(seconds):
                raise
    raise ValueError("no attempt is allowed")
