"""Sample the stacks of Python processes with py-spy, from outside and without stopping them."""

import asyncio
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tools.errors import CommandError
from tools.local.private_files import open_private

_RATE = 100
_READY = "Sampling process"
_READY_SECONDS_MAX = 30.0
_POLL_SECONDS = 0.05
_STOP_SECONDS_MAX = 60.0


def py_spy() -> Path:
    """Return the path of py-spy, beside this Python or on the PATH.

    Raises:
        CommandError: py-spy is not installed.
    """
    beside = Path(sys.executable).parent / "py-spy"
    found = beside if beside.exists() else shutil.which("py-spy")
    if found is None:
        raise CommandError("py-spy is missing: install the extra `dev` (make setup, or pip install py-spy)")
    return Path(found)


@asynccontextmanager
async def sampling(program: Path, pids: Mapping[str, int], folder: Path) -> AsyncIterator[Mapping[str, Path]]:
    """Sample processes for the time of the block.

    Args:
        program: The path of py-spy.
        pids: The processes, by name.
        folder: The folder for their stacks.

    Yields:
        The file of each process, by its name. The files are complete after the block.

    Raises:
        CommandError: A process can't be sampled.
    """
    async with AsyncExitStack() as opened:
        samplers = [_Sampler(program, pid, folder / f"{name.replace('/', '-')}.txt") for name, pid in pids.items()]
        for sampler in samplers:
            opened.push_async_callback(sampler.stop)
            await sampler.start()
        for sampler in samplers:
            await sampler.ready()
        yield {name: sampler.stacks for name, sampler in zip(pids, samplers, strict=True)}


class _Sampler:
    def __init__(self, program: Path, pid: int, stacks: Path) -> None:
        # Full paths: without them, folders that are no packages are left out, and modules of one name are mixed up.
        self._command = [
            *(str(program), "record", "--nonblocking", "--full-filenames", "--format", "raw"),
            *("--rate", str(_RATE), "--output", str(stacks), "--pid", str(pid)),
        ]
        self.stacks = stacks
        self._log = stacks.with_suffix(".log")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        # The file of an earlier run would be mistaken for this one's.
        self.stacks.unlink(missing_ok=True)
        with open_private(self._log, "wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    async def ready(self) -> None:
        limit = time.monotonic() + _READY_SECONDS_MAX
        while _READY not in (output := self._log.read_text(errors="replace")):
            if self._process is None or self._process.returncode is not None or time.monotonic() > limit:
                raise CommandError(_reason(output))
            await asyncio.sleep(_POLL_SECONDS)

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
        if not self.stacks.exists() and _READY in (output := self._log.read_text(errors="replace")):
            raise CommandError(_reason(output))
        self._log.unlink()


def _reason(output: str) -> str:
    if "permission" in output.lower():
        return (
            "py-spy may not read the stack's processes: run this as root, or let processes read others of their user "
            "(sysctl kernel.yama.ptrace_scope=0); in a container, add the capability SYS_PTRACE"
        )
    lines = [line for line in output.splitlines() if line.strip()]
    return f"py-spy can't sample a process of the stack: {lines[0] if lines else 'no reason given'}"
