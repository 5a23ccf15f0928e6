"""The database's time, by which all times of a service are judged, and how far other clocks are from it.

The clock of the machine that a process runs on may be wrong by minutes, and each replica's by others. What is stored is
stamped by the database; so what is compared with that is told the database's time as well.
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
# What took longer tells little of the moment in which it was answered.
_ASKED_SECONDS_MAX = 0.5


class Skew:
    """How far a clock is from another one: a metric, and a line in the log when it goes beyond a limit, or comes back.

    Args:
        of: Whose clock, such as `innosystem-jobs`.
        seconds_max: From where on it is logged.
    """

    def __init__(self, of: str, seconds_max: float) -> None:
        self._of = of
        self._seconds_max = seconds_max
        self._beyond = False
        self._gauge = _SKEW.labels(of)

    def measured(self, skew: timedelta) -> None:
        """Notes how far it is ahead."""
        seconds = skew.total_seconds()
        self._gauge.set(seconds)
        beyond = abs(seconds) > self._seconds_max
        if beyond != self._beyond:
            self._beyond = beyond
            write = log.warning if beyond else log.info
            write("clock_skewed" if beyond else "clocks_agree", of=self._of, ahead_seconds=round(seconds, 3))


class DatabaseClock:
    """What a database's clock says, asked now and then and counted on by this process in between.

    Args:
        skew: Told how far it is ahead of this machine's clock, which is used for nothing else.
        host: This machine's clock.
    """

    def __init__(self, skew: Skew, host: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._skew = skew
        self._host = host
        self._at: datetime | None = None
        self._read_at = 0.0

    def read(self, at: datetime, asked_at: float) -> None:
        """Notes what the database answered just now.

        Args:
            at: Its time.
            asked_at: When it was asked, by `monotonic`.
        """
        answered_at = monotonic()
        if answered_at - asked_at > _ASKED_SECONDS_MAX and self._at is not None:
            return
        self._at = at
        self._read_at = (asked_at + answered_at) / 2
        self._skew.measured(self._counted_on(at) - self._host())

    def __call__(self) -> datetime | None:
        """The database's time; None if it was never asked."""
        return None if self._at is None else self._counted_on(self._at)

    def _counted_on(self, at: datetime) -> datetime:
        return at + timedelta(seconds=monotonic() - self._read_at)
