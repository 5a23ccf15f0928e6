"""Starts the platform's processes as they are started in production, reads their logs, and stops them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from tests.support.until import until_sync

T = TypeVar("T")

PROJECT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 30.0
_SETTINGS = ("CUSTOMERS_", "WALLETS_", "JOBS_", "REDIS_", "RUNNER_", "LOG_")


class Process:
    """One process of the platform, with its output in files."""

    def __init__(self, module: str, *arguments: str, environment: Mapping[str, str], folder: Path) -> None:
        """Start it.

        Args:
            module: What `python -m` runs.
            arguments: Its command line.
            environment: Its settings; those of this process are not handed on.
            folder: Its working directory; its output goes there.
        """
        self._name = f"{module}-{time.monotonic_ns()}"
        self._folder = folder
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
        command: Sequence[str] = [sys.executable, "-m", module, *arguments]
        with self._file("out").open("wb") as out, self._file("err").open("wb") as err:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                env={**inherited, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1", **environment},
            )

    @property
    def pid(self) -> int:
        """The process ID."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def errors(self) -> str:
        """What it wrote to standard error."""
        return self._file("err").read_text()

    @property
    def output(self) -> str:
        """What it wrote to standard output."""
        return self._file("out").read_text()

    def lines(self, event: str, **values: Any) -> list[dict[str, Any]]:
        """The lines of its log with this event and these values."""
        wanted = {"event": event, **values}
        complete = self.output.rpartition("\n")[0].splitlines()
        entries = [json.loads(line) for line in complete if line.startswith("{")]
        return [entry for entry in entries if wanted.items() <= entry.items()]

    def logged(self, event: str, **values: Any) -> dict[str, Any]:
        """Wait for such a line; fail if the process ends without it."""

        def look() -> list[dict[str, Any]]:
            ended = not self.running
            found = self.lines(event, **values)
            assert found or not ended, f"{self._name} ended: {self.output[-2000:]}{self.errors[-2000:]}"
            return found

        return until_sync(look)[0]

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; return its exit status."""
        return self._process.wait(LIMIT_SECONDS)

    def stop(self) -> int:
        """End it by SIGTERM; return its exit status."""
        self.send(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it whatever it does."""
        if self.running:
            self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self.wait()

    def _file(self, kind: str) -> Path:
        return self._folder / f"{self._name}.{kind}"
