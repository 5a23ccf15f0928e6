"""Points at which tests have the runner die, at that very line and not at random."""

import os
import signal
from typing import Final

import structlog

from innosystem.client.log_lines import flush_all

log = structlog.get_logger()

_VARIABLE: Final = "INNOSYSTEM_CRASH_AT"


def crash_point(name: str) -> None:
    """Kill this process, as SIGKILL does, if the environment variable INNOSYSTEM_CRASH_AT has this name."""
    if os.environ.get(_VARIABLE) == name:
        log.critical("crash_point", name=name)
        # Tests read what was logged until here.
        flush_all()
        os.kill(os.getpid(), signal.SIGKILL)
