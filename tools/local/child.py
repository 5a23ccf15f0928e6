"""One process of the local stack: starts it, reads its log, stops it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.errors import CommandError

# As in the image: malloc of glibc otherwise keeps an arena of its own for each of gRPC's threads.
_ARENAS = {"MALLOC_ARENA_MAX": "2"}
_READY_SECONDS_MAX = 60.0
_POLL_SECONDS = 0.05
_TAIL_LINES = 15


class StackError(CommandError):
    """The local stack can't start or can't go on; the message says which part, and shows the end of its log."""


class Child:
    """A process that runs a module in a session of its own, so that Ctrl-C in the terminal reaches only the parent.

    Args:
        name: What it is called, in messages and as the name of its log.
        module: What `python -m` runs.
        arguments: Its command line.
        environment: Its environment; nothing of ours is added but how many arenas malloc keeps.
        log: Where its output goes; every start begins a new one.
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
        """Its process ID; None before it is started."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Starts it."""
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**_ARENAS, **self._environment},
                start_new_session=True,
            )

    async def logged(self, event: str) -> dict[str, Any]:
        """Waits for a line of its log.

        Raises:
            StackError: If it ends before, or the line does not come.
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
        """Waits until it has ended."""
        if self._process is not None:
            await self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal, if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def stop(self, seconds_max: float) -> None:
        """Ends it by SIGTERM and, if that takes too long, by SIGKILL, which is said on standard error."""
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(seconds_max):
                await self.wait()
        except TimeoutError:
            print(f"{self.name} did not stop within {seconds_max:g} s and is killed", file=sys.stderr)
            self.send(signal.SIGKILL)
            await self.wait()

    def ended(self) -> StackError:
        """The error for a process that has ended although it should not have."""
        status = self._process.returncode if self._process else None
        return StackError(f"{self.name} ended with exit status {status}{self.tail()}")

    def tail(self) -> str:
        """The end of its log, for messages."""
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
