"""Calls a service, again and again while it is away."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

import structlog
from grpc import StatusCode, aio

from innosystem.client import error_from, new_id
from innosystem.runner.backoff import Backoff

log = structlog.get_logger()

_ATTEMPT_SECONDS: Final = 10.0
# For a request that was divided: it is small, and others may be in it that are held up by one.
_SUSPECT_SECONDS: Final = 3.0
_ATTEMPT_SECONDS_MIN: Final = 0.5
# After so many attempts a part of the request is suspected: the first one may have met a replica that hangs.
_SILENCES_MAX: Final = 2
# A request may be at fault for these, but so may be a server that has trouble of its own.
_SUSPICIOUS: Final = frozenset({StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.DATA_LOSS})
_SUSPICIOUS_ATTEMPTS: Final = 3
# The request is at fault: sent again it would be refused again.
_REFUSALS: Final = frozenset(
    {
        StatusCode.INVALID_ARGUMENT,
        StatusCode.OUT_OF_RANGE,
        StatusCode.NOT_FOUND,
        StatusCode.ALREADY_EXISTS,
        StatusCode.FAILED_PRECONDITION,
    }
)
# A channel of gRPC's own choice waits for up to two minutes before it connects again.
CHANNEL_OPTIONS: Final = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
)

Request = TypeVar("Request")
Response = TypeVar("Response")


class CallFailed(Exception):
    """A call has no answer and is not repeated any more."""

    def __init__(self, code: StatusCode, reason: str, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(f"{reason or code.name}: {message}")
        self.code = code
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


class Unreachable(CallFailed):
    """The service did not answer in the time there was. The request may have been carried out."""


class HeldUp(CallFailed):
    """There is no answer for so long that a part of the request may hold up the rest. It may have been carried out."""


class Refused(CallFailed):
    """The service refuses the request, and would refuse it again."""


class ServiceClient:
    """One service as the runner sees it. Logs when it goes away and when it is back.

    Args:
        name: What it is called in logs.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._away = False

    async def call(
        self,
        method: aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        for_seconds: float,
        should_give_up: Callable[[], bool] = lambda: False,
        suspect: bool = False,
    ) -> Response:
        """Call a method that is safe to repeat until it answers.

        Args:
            method: The stub's method.
            request: What to send, each time the same.
            for_seconds: How long to go on.
            should_give_up: Asked before each repeat: whether to give up right away.
            suspect: Whether the request was held up before: then it is waited for only once, and not for long.

        Raises:
            Unreachable: The time is up.
            HeldUp: The request should be divided, or what it asks for put aside for a while.
            Refused: The service refuses the request.
        """
        until = time.monotonic() + for_seconds
        backoff = Backoff(first_seconds=0.05, longest_seconds=2.0)
        suspicions, silences = 0, int(suspect)
        metadata = (("x-request-id", str(new_id())),)
        while True:
            limit = _SUSPECT_SECONDS if suspect else _ATTEMPT_SECONDS
            limit = min(limit, max(_ATTEMPT_SECONDS_MIN, until - time.monotonic()))
            try:
                response = await method(request, timeout=limit, metadata=metadata)
            except aio.AioRpcError as exc:
                suspicions += exc.code() in _SUSPICIOUS
                failure = _judge(exc, suspicions)
                if isinstance(failure, Refused):
                    raise failure from exc
                wait = backoff.next_seconds(failure.retry_after_seconds)
                locked = failure.code is StatusCode.ABORTED
                if not locked and not suspect:
                    self._note_away(failure)
                if should_give_up() or time.monotonic() + wait > until:
                    raise failure from exc
                silences += failure.code is StatusCode.DEADLINE_EXCEEDED
                if locked or silences >= _SILENCES_MAX:
                    raise HeldUp(failure.code, failure.reason, str(failure)) from exc
                await asyncio.sleep(wait)
            else:
                self._note_back()
                return response

    def _note_away(self, failure: CallFailed) -> None:
        if not self._away:
            log.warning("service_unavailable", service=self._name, error=str(failure))
        self._away = True

    def _note_back(self) -> None:
        if self._away:
            log.info("service_available", service=self._name)
        self._away = False


def _judge(exc: aio.AioRpcError, suspicions: int) -> CallFailed:
    """Tell a request that is at fault from a service that has trouble."""
    code, details = exc.code(), error_from(exc)
    reason = details.reason if details else ""
    message = exc.details() or ""
    # Without a reason it is gRPC itself that says so: the message is too large for the server.
    too_large = code is StatusCode.RESOURCE_EXHAUSTED and not reason
    guilty = code in _SUSPICIOUS and suspicions >= _SUSPICIOUS_ATTEMPTS
    if code in _REFUSALS or too_large or guilty:
        return Refused(code, reason, message)
    return Unreachable(code, reason, message, details.retry_after_seconds if details else None)
