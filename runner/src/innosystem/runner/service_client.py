"""Call a service, retrying while it is unavailable."""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Final, TypeVar

import structlog
from grpc import StatusCode, aio

from innosystem.client import REFUSAL_CODES, error_from, new_id
from innosystem.runner.backoff import Backoff

log = structlog.get_logger()

_ATTEMPT_SECONDS: Final = 10.0
# For a part of a divided request: it is small, and one item may be holding up the others in it.
_SUSPECT_SECONDS: Final = 3.0
_ATTEMPT_SECONDS_MIN: Final = 0.5
# After this many timeouts some item of the request is a suspect; a single one may be due to a hanging replica.
_SILENCES_MAX: Final = 2
# These may be caused by the request, but also by trouble of the server.
_SUSPICIOUS: Final = frozenset({StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.DATA_LOSS})
_SUSPICIOUS_ATTEMPTS: Final = 3
# By default gRPC waits for up to two minutes before it reconnects.
CHANNEL_OPTIONS: Final = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
)

Request = TypeVar("Request")
Response = TypeVar("Response")


class CallFailed(Exception):
    """A call that failed and is no longer retried."""

    def __init__(self, code: StatusCode, reason: str, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(f"{reason or code.name}: {message}")
        self.code = code
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


class Unreachable(CallFailed):
    """A call without a response within the time limit. The request may have been carried out."""


class HeldUp(CallFailed):
    """A call that takes so long that one of its items may be holding up the rest. It may have been carried out."""


class Refused(CallFailed):
    """A request that the service refused, and would refuse again."""


class ServiceClient:
    """A client of one service. Logs when the service becomes unavailable and when it is available again.

    Args:
        name: The name of the service in logs.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._unavailable = False

    async def call(
        self,
        method: aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        for_seconds: float,
        should_give_up: Callable[[], bool] = lambda: False,
        suspect: bool = False,
        refusals: Collection[StatusCode] = (),
    ) -> Response:
        """Call a method that is safe to repeat, retrying until it returns a response.

        Args:
            method: The stub's method.
            request: The request; each attempt sends the same one.
            for_seconds: How long to retry.
            should_give_up: Checked before each retry: whether to give up immediately.
            suspect: Whether the request was held up before: then a single, short attempt is made.
            refusals: Further statuses by which the service refuses a request.

        Raises:
            Unreachable: The time is up.
            HeldUp: The request should be divided, or its single item set aside for a while.
            Refused: The service refused the request.
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
                failure = _classify(exc, suspicions, refusals)
                if isinstance(failure, Refused):
                    raise failure from exc
                wait = backoff.next_seconds(failure.retry_after_seconds)
                locked = failure.code is StatusCode.ABORTED
                if not locked and not suspect:
                    self._note_unavailable(failure)
                if should_give_up() or time.monotonic() + wait > until:
                    raise failure from exc
                silences += failure.code is StatusCode.DEADLINE_EXCEEDED
                if locked or silences >= _SILENCES_MAX:
                    raise HeldUp(failure.code, failure.reason, str(failure)) from exc
                await asyncio.sleep(wait)
            else:
                self._note_available()
                return response

    def _note_unavailable(self, failure: CallFailed) -> None:
        if not self._unavailable:
            log.warning("service_unavailable", service=self._name, error=str(failure))
        self._unavailable = True

    def _note_available(self) -> None:
        if self._unavailable:
            log.info("service_available", service=self._name)
        self._unavailable = False


def _classify(exc: aio.AioRpcError, suspicions: int, refusals: Collection[StatusCode]) -> CallFailed:
    """Distinguish a faulty request from a service in trouble."""
    code, details = exc.code(), error_from(exc)
    reason = details.reason if details else ""
    message = exc.details() or ""
    # Without a reason the status comes from gRPC itself: the message is too large for the server.
    too_large = code is StatusCode.RESOURCE_EXHAUSTED and not reason
    guilty = code in _SUSPICIOUS and suspicions >= _SUSPICIOUS_ATTEMPTS
    if code in REFUSAL_CODES or code in refusals or too_large or guilty:
        return Refused(code, reason, message)
    return Unreachable(code, reason, message, details.retry_after_seconds if details else None)
