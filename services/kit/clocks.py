"""The database's clock, the reference for all times of a service, and the skew of other clocks.

The clock of a process's machine may be wrong by minutes, differently for each replica. Stored times are stamped by the
database; so times that are compared with them come from the database's clock as well.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic

import structlog
from prometheus_client import Gauge

log = structlog.get_logger(__name__)

_SKEW = Gauge(
    "innosystem_clock_skew_seconds", "How far a clock is ahead of the one that this process is on, or sees.", ["of"]
)
# A slower query says little about the moment at which the database read its clock.
_QUERY_SECONDS_MAX = 0.5


class Skew:
    """The skew between two clocks: a metric, and a log line when it exceeds a limit or is within the limit again.

    Args:
        of: The owner of the clock, such as `innosystem-jobs`.
        seconds_max: The limit.
    """

    def __init__(self, of: str, seconds_max: float) -> None:
        self._of = of
        self._seconds_max = seconds_max
        self._beyond = False
        self._gauge = _SKEW.labels(of)

    def measured(self, skew: timedelta) -> None:
        """Record how far the clock is ahead."""
        seconds = skew.total_seconds()
        self._gauge.set(seconds)
        beyond = abs(seconds) > self._seconds_max
        if beyond != self._beyond:
            self._beyond = beyond
            write = log.warning if beyond else log.info
            write("clock_skewed" if beyond else "clocks_agree", of=self._of, ahead_seconds=round(seconds, 3))


class DatabaseClock:
    """A database's clock, read from time to time and extrapolated by this process in between.

    Args:
        skew: Records how far it is ahead of this machine's clock, which is used for nothing else.
        host: This machine's clock.
    """

    def __init__(self, skew: Skew, host: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._skew = skew
        self._host = host
        self._at: datetime | None = None
        self._read_at = 0.0

    def read(self, at: datetime, asked_at: float) -> None:
        """Record a time that was just read from the database.

        Args:
            at: The database's time.
            asked_at: When the query was sent, by `monotonic`.
        """
        received_at = monotonic()
        if received_at - asked_at > _QUERY_SECONDS_MAX and self._at is not None:
            return
        self._at = at
        self._read_at = (asked_at + received_at) / 2
        self._skew.measured(self._extrapolated(at) - self._host())

    def __call__(self) -> datetime | None:
        """Return the database's time; None before the first reading."""
        return None if self._at is None else self._extrapolated(self._at)

    def _extrapolated(self, at: datetime) -> datetime:
        return at + timedelta(seconds=monotonic() - self._read_at)
