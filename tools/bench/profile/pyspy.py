"""Samples what Python processes are at, by py-spy, from outside and without stopping them."""

import asyncio
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tools.errors import CommandError

_RATE = 100
_READY = "Sampling process"
_READY_SECONDS_MAX = 30.0
_LOOK_SECONDS = 0.05
_STOP_SECONDS_MAX = 60.0


def py_spy() -> Path:
    """Where py-spy is: beside this Python, or on the PATH.

    Raises:
        CommandError: If it is not installed.
    """
    beside = Path(sys.executable).parent / "py-spy"
    found = beside if beside.exists() else shutil.which("py-spy")
    if found is None:
        raise CommandError("py-spy is missing: install the extra `dev` (make setup, or pip install py-spy)")
    return Path(found)


@asynccontextmanager
async def spying(program: Path, pids: Mapping[str, int], folder: Path) -> AsyncIterator[Mapping[str, Path]]:
    """Samples processes for the time of the block.

    Args:
        program: py-spy.
        pids: The processes, by name.
        folder: Where their stacks go.

    Yields:
        The file of each process, by its name. The files are whole after the block.

    Raises:
        CommandError: If a process can't be sampled.
    """
    async with AsyncExitStack() as opened:
        spies = [_Spy(program, pid, folder / f"{name.replace('/', '-')}.txt") for name, pid in pids.items()]
        for spy in spies:
            opened.push_async_callback(spy.stop)
            await spy.start()
        for spy in spies:
            await spy.ready()
        yield {name: spy.stacks for name, spy in zip(pids, spies, strict=True)}


class _Spy:
    def __init__(self, program: Path, pid: int, stacks: Path) -> None:
        # Whole paths: without, a folder that is no package is left out, and modules of one name become one.
        self._command = [
            *(str(program), "record", "--nonblocking", "--full-filenames", "--format", "raw"),
            *("--rate", str(_RATE), "--output", str(stacks), "--pid", str(pid)),
        ]
        self.stacks = stacks
        self._log = stacks.with_suffix(".log")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        # What a run before has left would be taken for this one's.
        self.stacks.unlink(missing_ok=True)
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    async def ready(self) -> None:
        limit = time.monotonic() + _READY_SECONDS_MAX
        while _READY not in (said := self._log.read_text(errors="replace")):
            if self._process is None or self._process.returncode is not None or time.monotonic() > limit:
                raise CommandError(_why(said))
            await asyncio.sleep(_LOOK_SECONDS)

    async def stop(self) -> None:
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(_STOP_SECONDS_MAX):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        if not self.stacks.exists() and _READY in (said := self._log.read_text(errors="replace")):
            raise CommandError(_why(said))
        self._log.unlink()


def _why(said: str) -> str:
    if "permission" in said.lower():
        return (
            "py-spy may not look into the stack's processes: run this as root, or let processes look into others of "
            "their user (sysctl kernel.yama.ptrace_scope=0); in a container it takes the capability SYS_PTRACE"
        )
    lines = [line for line in said.splitlines() if line.strip()]
    return f"py-spy can't sample a process of the stack: {lines[0] if lines else 'it says nothing'}"
