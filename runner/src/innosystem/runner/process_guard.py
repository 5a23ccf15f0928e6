"""Kill the processes of handlers, with all their descendants, when the runner ends in whatever way."""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger()

_END_SECONDS: Final = 2.0
_PROGRAM: Final = Path(__file__).with_name("process_guard_program.py")


class ProcessGuard:
    """A small process that outlives the runner by a moment, and kills the process groups that it watches.

    A handler's process cannot be relied on to notice that the runner is gone: it may hold the interpreter's lock, and
    processes that it has started have no connection to the runner.
    """

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._process: asyncio.subprocess.Process | None = None
        self._pipe: int | None = None
        # Whether the guard has missed a line because it stopped reading.
        self._missed_line = False
        self._starting = asyncio.Lock()

    async def watch(self, group: int) -> None:
        """Kill a process group when the runner is gone."""
        self._groups.add(group)
        async with self._starting:
            # The group may have ended meanwhile.
            if group in self._groups and not self._send(f"+{group}\n"):
                await self._start()

    def forget(self, group: int) -> None:
        """Stop watching a process group that has ended."""
        self._groups.discard(group)
        self._send(f"-{group}\n")

    def _send(self, line: str) -> bool:
        """Send a line without blocking, and return whether the guard has received every line."""
        if self._pipe is None or self._missed_line:
            return False
        try:
            os.write(self._pipe, line.encode())
        except (BrokenPipeError, BlockingIOError):
            self._missed_line = True
        return not self._missed_line

    async def _start(self) -> None:
        if self._process is not None:
            log.warning("guard_ended", status=self._process.returncode, note="it is replaced by a new one")
            # The old guard may be stopped, and would later kill groups whose IDs are reused by then.
            with suppress(ProcessLookupError):
                self._process.kill()
            await self.close()
        theirs, ours = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_PROGRAM), str(os.getpid())),
                stdin=theirs,
                # Signals to the runner's process group must not reach the guard.
                start_new_session=True,
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        os.set_blocking(ours, False)
        self._pipe, self._missed_line = ours, False
        self._send("".join(f"+{group}\n" for group in self._groups))

    async def close(self) -> None:
        """End the guard; it kills the groups that it still watches."""
        if self._pipe is not None:
            # A process forked by a handler may hold this end open: closing it may not be enough.
            self._send("end\n")
            os.close(self._pipe)
            self._pipe = None
        if self._process is not None:
            try:
                async with asyncio.timeout(_END_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                with suppress(ProcessLookupError):
                    self._process.kill()
                await self._process.wait()
            self._process = None
