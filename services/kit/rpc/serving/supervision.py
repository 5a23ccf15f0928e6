"""What a supervisor of server processes decides: their settings, and what becomes of one that has ended."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass

from services.kit.settings import ServerSettings

CRASH_EXIT_STATUS = 1
STARTUP_ERROR_EXIT_STATUS = 2

# The first pause is short: one process that was killed is back before anybody misses it. Each further one is twice as
# long, so that processes that can't run don't take the machine from those that can.
PAUSE_SECONDS = 0.25
PAUSE_SECONDS_MAX = 15.0
# Who has served for so long was well; its end has nothing to do with earlier ones.
STEADY_SECONDS = 60.0


@dataclass(frozen=True)
class StartAgain:
    """The process is started again, after a pause."""

    pause_seconds: float


@dataclass(frozen=True)
class GiveUp:
    """All processes are told to stop, and the supervisor ends with this status."""

    status: int


@dataclass
class Restarts:
    """Decides what becomes of one process whenever it ends without having been told to.

    Attributes:
        failures: How often it has ended one time after the other.
    """

    failures: int = 0

    def after(self, status: int, *, served_seconds: float, complete: bool) -> StartAgain | GiveUp:
        """Decides.

        Args:
            status: The exit status; negative for a signal.
            served_seconds: How long it had served; 0 if it had not begun to.
            complete: Whether all processes have been ready once. Before that nobody relies on them, and whoever
                started the supervisor wants to know that it can't start.
        """
        if status == STARTUP_ERROR_EXIT_STATUS:
            return GiveUp(status)
        if not complete:
            return GiveUp(status if status > 0 else CRASH_EXIT_STATUS)
        if served_seconds >= STEADY_SECONDS:
            self.failures = 0
        pause = min(PAUSE_SECONDS * 2.0**self.failures, PAUSE_SECONDS_MAX)
        self.failures += 1
        return StartAgain(pause)


def has_stopped_well(status: int, *, ready: bool) -> bool:
    """Whether a process that was told to stop has ended as it should.

    Args:
        status: Its exit status.
        ready: Whether it had begun to serve. One that has not yet taken the signals over ends by the signal.
    """
    return status == 0 or (status == -signal.SIGTERM and not ready)


def process_settings(settings: ServerSettings, prefix: str, number: int, address: str) -> Mapping[str, str]:
    """The settings that one of several processes has of its own, as environment variables.

    Args:
        settings: Those of all.
        prefix: What the names of the variables begin with, such as `JOBS_`.
        number: Which process, from 1 on.
        address: Where all of them listen.
    """
    own = {f"{prefix}LISTEN_ADDRESS": address, f"{prefix}REUSE_PORT": "true"}
    if settings.metrics_listen_address:
        own[f"{prefix}METRICS_LISTEN_ADDRESS"] = _metrics_address(settings.metrics_listen_address, number)
    return own


def _metrics_address(address: str, number: int) -> str:
    """The first process has the port that was set, the second the next one, and so on: each tells of itself alone."""
    host, _, port = address.rpartition(":")
    # Port 0 is a free one for each; about what is no port the process complains.
    return f"{host}:{int(port) + number - 1}" if port.isdecimal() and int(port) else address
