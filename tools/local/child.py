"""A process of the local stack: its start, its log and its end."""

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools.errors import CommandError
from tools.local.log_text import indented, parse, serious
from tools.local.private_files import open_private

# As in the image: the malloc of glibc otherwise keeps a separate arena for each of gRPC's threads.
_MALLOC = {"MALLOC_ARENA_MAX": "2"}
_READY_SECONDS_MAX = 60.0
_POLL_SECONDS = 0.05
_ERROR_LINES = 15
_TAIL_LINES = 5
_TAIL_BYTES = 256 * 1024
_LOG_BYTES_MAX = 20 * 1024 * 1024
# What `faulthandler.dump_traceback_later` prints above the stacks of all threads, when it ends a process.
_STOOD_STILL = re.compile(r"^Timeout \(([\d:.]+)\)!$", re.MULTILINE)
# One line for each call; they say nothing about why a process has ended.
_ACCESS_EVENTS = frozenset({"call"})


class StackError(CommandError):
    """The local stack can't start or has failed; the message names the part and shows the end of its log."""


class Child:
    """A process that runs a module in a separate session, so that Ctrl-C in the terminal reaches only the parent.

    Args:
        name: The name in messages, and of the log.
        module: The module that `python -m` runs.
        arguments: Its command line.
        environment: The complete environment, except for the number of malloc's arenas.
        log: The file for the output, for this user only. Each start adds to it, after a line that marks the start.
    """

    def __init__(
        self, name: str, module: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self._command = [sys.executable, "-m", "tools.local.die_with_parent", str(os.getpid()), module, *arguments]
        self._environment = environment
        self._log = log
        self._begin = 0
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process ID; None before the start."""
        return self._process.pid if self._process else None

    @property
    def has_ended(self) -> bool:
        """Whether the process was started and has ended."""
        return self._process is not None and self._process.returncode is not None

    @property
    def status(self) -> str:
        """The exit status, with the name of the signal that it stands for; `None` while the process runs."""
        status = self._process.returncode if self._process else None
        return f"{status} ({signal.Signals(-status).name})" if status is not None and status < 0 else str(status)

    async def start(self) -> None:
        """Start the process."""
        self.bound_log()
        with open_private(self._log, "ab") as log:
            log.write(f"---- {self.name} starts at {datetime.now(UTC):%Y-%m-%d %H:%M:%SZ} ----\n".encode())
            log.flush()
            self._begin = log.tell()
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

    async def lines(self) -> AsyncIterator[str]:
        """Yield each line that the process has written since its start, until it has ended."""
        with self._log.open("rb") as log:
            log.seek(self._begin)
            rest = b""
            while True:
                # In this order: what it wrote before its end is read once more.
                ended = self._process is None or self._process.returncode is not None
                *complete, rest = (rest + log.read()).split(b"\n")
                for line in complete:
                    yield line.decode(errors="replace")
                if ended:
                    break
                await asyncio.sleep(_POLL_SECONDS)
            if rest:
                yield rest.decode(errors="replace")

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

    def bound_log(self) -> None:
        """Move the log to a second file, whose name ends in `.1`, if it has become large. A few lines may get lost."""
        if self._log.exists() and self._log.stat().st_size > _LOG_BYTES_MAX:
            # Not renamed: the process keeps the file open, and appends to it.
            with self._log.open("rb") as full, open_private(Path(f"{self._log}.1"), "wb") as older:
                shutil.copyfileobj(full, older)
            os.truncate(self._log, 0)
            self._begin = 0

    def ended(self) -> StackError:
        """Return the error for a process that has ended unexpectedly."""
        ended = f"{self.name} ended with exit status {self.status}"
        if stood_still := _STOOD_STILL.search(self._output(_TAIL_BYTES)):
            return StackError(
                f"{ended}: its event loop was blocked for {stood_still[1]}, by a handler that holds the interpreter or "
                f"because the process was stopped; {self._log} has what each thread was doing"
            )
        return StackError(f"{ended}{self.tail()}")

    def tail(self) -> str:
        """Return the last errors in the log since the start, or its end if there are none, for messages."""
        lines = self._output(_TAIL_BYTES).splitlines()
        if errors := serious(lines)[-_ERROR_LINES:]:
            return f"; its last errors in {self._log}:\n{indented(errors)}"
        fields = [(line, parse(line) or {}) for line in lines]
        last = [line for line, each in fields if each.get("event") not in _ACCESS_EVENTS][-_TAIL_LINES:]
        return f"; the end of {self._log}, which has no errors:\n{indented(last)}"

    def _output(self, bytes_max: int | None = None) -> str:
        """Return what the process has written since its start, or the last bytes of that."""
        with self._log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(self._begin if bytes_max is None else max(self._begin, size - bytes_max))
            return log.read().decode(errors="replace")

    def _find(self, event: str) -> dict[str, Any] | None:
        # The last line may be half written.
        for line in self._output().rpartition("\n")[0].splitlines():
            if (fields := parse(line)) is not None and fields["event"] == event:
                return fields
        return None
