"""The decisions of a supervisor of server processes: their settings, and how to react when one ends."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass

from services.kit.settings import ServerSettings

CRASH_EXIT_STATUS = 1
STARTUP_ERROR_EXIT_STATUS = 2

# The first pause is short, so that a killed process is back quickly. Each further one is twice as long, so that
# processes that cannot run do not take the machine from those that can.
PAUSE_SECONDS = 0.25
PAUSE_SECONDS_MAX = 15.0
# A process that served for this long was healthy; its end is unrelated to earlier ones.
STEADY_SECONDS = 60.0


@dataclass(frozen=True)
class StartAgain:
    """Start the process again, after a pause."""

    pause_seconds: float


@dataclass(frozen=True)
class GiveUp:
    """Stop all processes, and end the supervisor with this status."""

    status: int


@dataclass
class Restarts:
    """The restarts of one process that ends by itself.

    Attributes:
        failures: How often in a row the process has ended.
    """

    failures: int = 0

    def after(self, status: int, *, served_seconds: float, complete: bool) -> StartAgain | GiveUp:
        """Decide how to react to an end of the process.

        Args:
            status: The exit status; negative for a signal.
            served_seconds: How long the process had served; 0 if it was never ready.
            complete: Whether all processes have been ready once. Before that no client relies on them, and a failure
                to start should be reported by the supervisor's exit.
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
    """Whether a process that was stopped has ended as expected.

    Args:
        status: The exit status.
        ready: Whether the process served. Before it handles signals, it ends by the signal.
    """
    return status == 0 or (status == -signal.SIGTERM and not ready)


def process_settings(settings: ServerSettings, prefix: str, number: int, address: str) -> Mapping[str, str]:
    """Return the settings of one of several processes, as environment variables.

    Args:
        settings: The settings of all processes.
        prefix: The prefix of the environment variables, such as `JOBS_`.
        number: The number of the process, from 1 on.
        address: The address that all processes listen on.
    """
    own = {f"{prefix}LISTEN_ADDRESS": address, f"{prefix}REUSE_PORT": "true"}
    if settings.metrics_listen_address:
        own[f"{prefix}METRICS_LISTEN_ADDRESS"] = _metrics_address(settings.metrics_listen_address, number)
    return own


def _metrics_address(address: str, number: int) -> str:
    """Return the address of a process's metrics: the first has the configured port, each further one the next."""
    host, _, port = address.rpartition(":")
    # Port 0 is a free one for each process; the process itself reports an invalid port.
    return f"{host}:{int(port) + number - 1}" if port.isdecimal() and int(port) else address
