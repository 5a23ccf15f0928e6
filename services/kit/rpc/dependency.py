"""Another service, from its caller's view: a circuit breaker for its calls."""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final

import grpc
import structlog

from innosystem.client import error_from
from services.kit.errors import DependencyUnavailable
from services.kit.rpc.attempts import call_in_attempts

log = structlog.get_logger(__name__)

_PAUSE_SECONDS: Final = 0.5
_PAUSE_SECONDS_MAX: Final = 5.0
# A single failure may be that of one replica.
_FAILURES_UNTIL_UNAVAILABLE: Final = 2
_NO_RESPONSE: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class Dependency:
    """A circuit breaker for calls of another service: while the service is unavailable, calls fail immediately.

    Otherwise each caller would pay for discovering that again, with all attempts. Calls count that got no response from
    any replica that they tried: there is none, or it is frozen. A refusal says nothing about the next call. After a
    pause, one call at a time probes the service. Pauses grow, and callers are asked to wait as long.

    Args:
        name: The name of the service, for callers and logs.
        now: Returns a monotonic time in seconds.
    """

    def __init__(self, name: str, now: Callable[[], float] = monotonic) -> None:
        self._name = name
        self._now = now
        self._failures = 0
        self._unavailable_until = 0.0

    async def call(self, method: Any, request: Any, seconds: Sequence[float]) -> Any:
        """Call a method as `attempts.call_in_attempts` does.

        Raises:
            DependencyUnavailable: If the service is unavailable, or was recently.
            grpc.aio.AioRpcError: Any other failure.
        """
        if self._failures >= _FAILURES_UNTIL_UNAVAILABLE:
            if self._now() < self._unavailable_until:
                raise self._unavailable()
            # This call probes the service; until it ends, or until this time, other calls are refused.
            self._unavailable_until = self._now() + self._pause_seconds
        began = self._now()
        try:
            response = await call_in_attempts(method, request, seconds)
        except grpc.aio.AioRpcError as error:
            if error.code() not in _NO_RESPONSE or error_from(error) is not None:
                raise
            self._failed(error.code().name, error.details())
            raise self._unavailable() from error
        except asyncio.CancelledError:
            # The caller has less time than the attempts: two of them without a response are enough to know.
            if self._now() - began >= sum(seconds[:2]):
                self._failed("CANCELLED", "two attempts got no response")
            raise
        self._failures = 0
        return response

    @property
    def _pause_seconds(self) -> float:
        doublings = max(0, min(self._failures, 16) - _FAILURES_UNTIL_UNAVAILABLE)
        return min(_PAUSE_SECONDS * 2.0**doublings, _PAUSE_SECONDS_MAX)

    def _failed(self, code: str, error: str | None) -> None:
        log.warning("service_unavailable", service=self._name, code=code, error=error)
        self._failures += 1
        self._unavailable_until = self._now() + self._pause_seconds

    def _unavailable(self) -> DependencyUnavailable:
        return DependencyUnavailable(self._name, retry_seconds=self._pause_seconds)
