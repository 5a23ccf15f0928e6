"""Another service, as the one that calls it sees it."""

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
# A single failure may be one replica's, whose callers were many.
_AWAY_FROM: Final = 2


class Dependency:
    """Calls another service, and remembers for a moment that nobody is there.

    Every caller would else pay for finding that out again, with all the attempts that gRPC makes. Only that counts for
    which nobody answered at all: what a replica refuses, or is too slow for, says nothing of the next call. After the
    pause one call at a time looks whether somebody is back. Pauses grow, and callers are told to stay away as long.

    Args:
        name: What callers are told.
        now: The time in seconds; it only goes forward.
    """

    def __init__(self, name: str, now: Callable[[], float] = monotonic) -> None:
        self._name = name
        self._now = now
        self._failures = 0
        self._away_until = 0.0

    async def call(self, method: Any, request: Any, seconds: Sequence[float]) -> Any:
        """Call a method as `attempts.call_in_attempts` does.

        Raises:
            DependencyUnavailable: Nobody is there, or nobody was a moment ago.
            grpc.aio.AioRpcError: Any other failure.
        """
        if self._failures >= _AWAY_FROM:
            if self._now() < self._away_until:
                raise self._unavailable()
            # The others are refused meanwhile, but not longer than that.
            self._away_until = self._now() + self._pause_seconds
        try:
            response = await call_in_attempts(method, request, seconds)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE or error_from(error) is not None:
                raise
            self._failed(error)
            raise self._unavailable() from error
        self._failures = 0
        return response

    @property
    def _pause_seconds(self) -> float:
        return min(_PAUSE_SECONDS * 2.0 ** max(0, min(self._failures, 16) - _AWAY_FROM), _PAUSE_SECONDS_MAX)

    def _failed(self, error: grpc.aio.AioRpcError) -> None:
        log.warning("service_unavailable", service=self._name, code=error.code().name, error=error.details())
        self._failures += 1
        self._away_until = self._now() + self._pause_seconds

    def _unavailable(self) -> DependencyUnavailable:
        return DependencyUnavailable(self._name, retry_seconds=self._pause_seconds)
