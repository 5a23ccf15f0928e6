"""A process of the local stack: its start, its log and its end."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.errors import CommandError

# As in the image: the malloc of glibc otherwise keeps a separate arena for each of gRPC's threads.
_MALLOC = {"MALLOC_ARENA_MAX": "2"}
_READY_SECONDS_MAX = 60.0
_POLL_SECONDS = 0.05
_TAIL_LINES = 15


class StackError(CommandError):
    """The local stack can't start or has failed; the message names the part and shows the end of its log."""


class Child:
    """A process that runs a module in a separate session, so that Ctrl-C in the terminal reaches only the parent.

    Args:
        name: The name in messages, and of the log.
        module: The module that `python -m` runs.
        arguments: Its command line.
        environment: The complete environment, except for the number of malloc's arenas.
        log: The file for the output; every start truncates it.
    """

    def __init__(
        self, name: str, module: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self._command = [sys.executable, "-m", "tools.local.die_with_parent", str(os.getpid()), module, *arguments]
        self._environment = environment
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process ID; None before the start."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the process."""
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**_MALLOC, **self._environment},
                start_new_session=True,
            )

    async def wait_for_event(self, event: str) -> dict[str, Any]:
        """Wait for an event in the log, and return its line.

        Raises:
            StackError: The process ends before, or the event does not come in time.
        """
        try:
            async with asyncio.timeout(_READY_SECONDS_MAX):
                while (found := self._find(event)) is None:
                    if self._process is None or self._process.returncode is not None:
                        raise self.ended()
                    await asyncio.sleep(_POLL_SECONDS)
                return found
        except TimeoutError:
            raise StackError(f"{self.name} is not ready after {_READY_SECONDS_MAX:g} s{self.tail()}") from None

    async def wait(self) -> None:
        """Wait until the process has ended."""
        if self._process is not None:
            await self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if the process runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def stop(self, seconds_max: float) -> None:
        """End the process by SIGTERM and, if that takes too long, by SIGKILL, with a line on standard error."""
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(seconds_max):
                await self.wait()
        except TimeoutError:
            print(f"{self.name} did not stop within {seconds_max:g} s and is killed", file=sys.stderr)
            self.send(signal.SIGKILL)
            await self.wait()

    def ended(self) -> StackError:
        """Return the error for a process that has ended unexpectedly."""
        status = self._process.returncode if self._process else None
        return StackError(f"{self.name} ended with exit status {status}{self.tail()}")

    def tail(self) -> str:
        """Return the end of the log, for messages."""
        lines = self._log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return f"; the end of {self._log}:\n" + "\n".join(f"  {line}" for line in lines)

    def _find(self, event: str) -> dict[str, Any] | None:
        # The last line may be half written.
        complete = self._log.read_text(errors="replace").rpartition("\n")[0]
        for line in complete.splitlines():
            if f'"event":"{event}"' in line:
                found: dict[str, Any] = json.loads(line)
                return found
        return None
