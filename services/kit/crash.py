"""Lines at which a process can be told to die, so that tests can prove what happens then.

`INNOSYSTEM_CRASH_AT=jobs.submit.before_push` has the process kill itself, as the kernel or a power cut would, when it
comes to that line.
"""

import os
import signal

from innosystem.client.log_lines import flush_all

_ARMED = os.environ.get("INNOSYSTEM_CRASH_AT", "")


def crash_point(name: str) -> None:
    """Dies here if the environment says so."""
    if _ARMED and name == _ARMED:
        flush_all()
        os.kill(os.getpid(), signal.SIGKILL)
