"""Lines at which a test can kill a process, so that it proves what happens afterwards.

`INNOSYSTEM_CRASH_AT=jobs.submit.before_push` kills the process, as the kernel or a power cut would,
when it reaches that line.

The SDK itself needs no structlog, so it is imported only when a process is killed.
"""

import os
import signal
from typing import Final

from innosystem.shared.log_lines import flush_all

_ARMED: Final = os.environ.get("INNOSYSTEM_CRASH_AT", "")


def crash_point(name: str) -> None:
    """Kill this process if the environment names this point."""
    if _ARMED and name == _ARMED:
        import structlog

        structlog.get_logger(__name__).critical("crash_point", name=name)
        # Tests read the log up to here.
        flush_all()
        os.kill(os.getpid(), signal.SIGKILL)
