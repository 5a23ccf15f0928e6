"""Calls that wait when the caller has used up a limit, and are sent again.

gRPC's own retries would not do: a wait beyond the deadline would end as DEADLINE_EXCEEDED, without the reason, and each
refusal would use up a token of the retries while no server is available.
"""

import asyncio
import random
from collections.abc import Callable, Generator
from time import monotonic
from typing import Any, Final, Generic, TypeVar

import grpc
from grpc import aio

from innosystem.client.errors import error_from

Request = TypeVar("Request")
Response = TypeVar("Response")

_ATTEMPTS_MAX: Final = 10
_WAIT_SECONDS_MIN: Final = 0.01
# Callers that were refused together come back one after another.
_JITTER: Final = (1.0, 1.5)


def wait_seconds(error: aio.AioRpcError) -> float | None:
    """Return how long to wait before a call that was refused with RATE_LIMITED is sent again; None for other errors."""
    if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
        return None
    details = error_from(error)
    if details is None or details.reason != "RATE_LIMITED":
        return None
    told = max(details.retry_after_seconds or 0.0, _WAIT_SECONDS_MIN)
    return told * random.uniform(*_JITTER)  # noqa: S311 - no secret


class PatientCall(aio.UnaryUnaryCall[Request, Response], Generic[Request, Response]):
    """A call of a method that is safe to repeat, which waits for room within its deadline when it is awaited.

    Its other methods are about the latest attempt.

    Args:
        start: Sends the request, with a deadline in seconds.
        seconds: The deadline of all attempts together.
    """

    def __init__(self, start: Callable[[float], aio.UnaryUnaryCall[Request, Response]], seconds: float) -> None:
        self._start = start
        self._until = monotonic() + seconds
        self._is_cancelled = False
        self._call = start(seconds)

    def __await__(self) -> Generator[Any, None, Response]:
        """Return the response.

        Raises:
            grpc.aio.AioRpcError: The call failed. If a limit is used up for longer than the deadline, without waiting.
        """
        return self._response().__await__()

    async def _response(self) -> Response:
        for _ in range(_ATTEMPTS_MAX - 1):
            try:
                return await self._call
            except aio.AioRpcError as error:
                wait = wait_seconds(error)
                if wait is None or monotonic() + wait >= self._until:
                    raise
            await asyncio.sleep(wait)
            if self._is_cancelled:
                raise asyncio.CancelledError
            self._call = self._start(self._until - monotonic())
        return await self._call

    def cancel(self) -> bool:
        """Cancel the call, also while it waits."""
        self._is_cancelled = True
        return self._call.cancel()

    def cancelled(self) -> bool:
        """Return whether the call was cancelled."""
        return self._call.cancelled()

    def done(self) -> bool:
        """Return whether the latest attempt has ended."""
        return self._call.done()

    def time_remaining(self) -> float | None:
        """Return the time that the latest attempt has left, in seconds."""
        return self._call.time_remaining()

    def add_done_callback(self, callback: Any) -> None:
        """Call back when the latest attempt has ended."""
        self._call.add_done_callback(callback)

    async def initial_metadata(self) -> aio.Metadata:
        """Return the metadata before the response."""
        return await self._call.initial_metadata()

    async def trailing_metadata(self) -> aio.Metadata:
        """Return the metadata after the response."""
        return await self._call.trailing_metadata()

    async def code(self) -> grpc.StatusCode:
        """Return the status."""
        return await self._call.code()

    async def details(self) -> str:
        """Return the message of the status."""
        return await self._call.details()

    async def wait_for_connection(self) -> None:
        """Wait until the latest attempt has a connection."""
        await self._call.wait_for_connection()
