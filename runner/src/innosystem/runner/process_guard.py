"""Has the processes of handlers, and all that those have started, end with the runner however it ends."""

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
    """A small process that outlives the runner by a moment, and kills the process groups that it was told of.

    Nothing in a handler's process is sure to notice that the runner is gone: it may hold the interpreter's lock, and
    what it has started knows nothing of the runner.
    """

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._process: asyncio.subprocess.Process | None = None
        self._pipe: int | None = None
        # Whether it has missed a line, because it does not read any more.
        self._deaf = False
        self._starting = asyncio.Lock()

    async def watch(self, group: int) -> None:
        """Have a process group killed when the runner is gone."""
        self._groups.add(group)
        async with self._starting:
            # It may have ended meanwhile.
            if group in self._groups and not self._tell(f"+{group}\n"):
                await self._start()

    def forget(self, group: int) -> None:
        """Leave a process group alone, which has ended."""
        self._groups.discard(group)
        self._tell(f"-{group}\n")

    def _tell(self, line: str) -> bool:
        """Write a line, and tell whether the guard knows all by then. Waits for nobody: the event loop is here."""
        if self._pipe is None or self._deaf:
            return False
        try:
            os.write(self._pipe, line.encode())
        except (BrokenPipeError, BlockingIOError):
            self._deaf = True
        return not self._deaf

    async def _start(self) -> None:
        if self._process is not None:
            log.warning("guard_ended", status=self._process.returncode, note="another one takes its place")
            # It may be stopped, and would later kill groups that have others' IDs by then.
            with suppress(ProcessLookupError):
                self._process.kill()
            await self.close()
        theirs, ours = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_PROGRAM), str(os.getpid())),
                stdin=theirs,
                # What is sent to the runner's process group must not reach it.
                start_new_session=True,
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        os.set_blocking(ours, False)
        self._pipe, self._deaf = ours, False
        self._tell("".join(f"+{group}\n" for group in self._groups))

    async def close(self) -> None:
        """End it; groups that it still knows are killed."""
        if self._pipe is not None:
            # A process that a handler forked may hold this end open: closing it alone may end nothing.
            self._tell("end\n")
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
