"""Start the runner anew in its own process, when handlers that cannot be stopped have made it unusable."""

import os
import sys
from pathlib import Path
from typing import Final, NoReturn

import structlog

from innosystem.shared.log_lines import flush_all

log = structlog.get_logger()


class Restart:
    """The command line, the environment and the working directory to start anew with, before handlers change them.

    The process keeps its ID, so nothing has to supervise it. Only replacing the program ends threads that never return;
    connections are closed by that, and the guard of the handlers' processes kills these.
    """

    def __init__(self) -> None:
        self._command: Final = [sys.executable, *sys.orig_argv[1:]]
        self._environment: Final = dict(os.environ)
        self._directory: Final = Path.cwd()

    def now(self, reason: str, *, status: int) -> NoReturn:
        """Start anew.

        Args:
            reason: Why, for the log.
            status: The exit status if the program cannot be started.
        """
        log.error("runner_restarts", reason=reason)
        flush_all()
        try:
            os.chdir(self._directory)
            os.execve(self._command[0], self._command, self._environment)  # noqa: S606 - this program
        except OSError as exc:
            log.critical("runner_not_restarted", error=f"{type(exc).__name__}: {exc}")
            flush_all()
        os._exit(status)
