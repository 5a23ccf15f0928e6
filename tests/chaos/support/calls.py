"""Calls that are repeated, the same, until they get a response."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc

from innosystem.client import InnosystemError, error_from

T = TypeVar("T")

CALL_SECONDS = 5.0
PAUSE_SECONDS = 0.2

# The call may not have arrived, or its response may not: it is made again. Anything else is an response.
_UNDECIDED = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)


class Calls:
    """Knows an response from a failure.

    Attributes:
        failures: How often calls failed, by what they said.
    """

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()

    async def until_returned(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeats a call.

        Raises:
            InnosystemError: If that is the response.
        """
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as error:
                if self.is_answer(failure := read(error)):
                    raise failure from None
                await asyncio.sleep(pause_seconds(failure))

    def is_answer(self, failure: InnosystemError) -> bool:
        """Count a failure; return whether there is no point in the same call again."""
        self.failures[failure.reason or failure.code.name] += 1
        return not is_undecided(failure)


def pause_seconds(failure: InnosystemError) -> float:
    """How long to wait before the same call again: what the service says, if it does."""
    return max(PAUSE_SECONDS, failure.retry_after_seconds or 0.0)


def is_undecided(failure: InnosystemError) -> bool:
    """Return whether the same call may still be carried out, or was, so that it is to be repeated."""
    return failure.code in _UNDECIDED


def read(error: grpc.aio.AioRpcError) -> InnosystemError:
    """What a service said, or gRPC itself."""
    return error_from(error) or InnosystemError(error.code(), error.details() or "")
