"""The runner's program, with handlers of a test."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.integration.runner.conftest import World
from tests.integration.runner.fakes import until


class Program:
    """A running `python -m innosystem.runner` and the lines it has logged."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.text: list[str] = []

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it has logged."""
        return [json.loads(line) for line in self.text if line.startswith("{")]

    async def read(self) -> None:
        """Read what it writes until its end."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.text.append(line.decode())

    def logged(self, event: str) -> bool:
        """Whether it has logged an event."""
        return any(line["event"] == event for line in self.lines)

    async def ended(self) -> int:
        """Wait for its end, and return its status."""
        async with asyncio.timeout(30):
            return await self.process.wait()


@asynccontextmanager
async def running_program(
    world: World, folder: Path, handlers: str, *more_modules: str, **environment: str
) -> AsyncIterator[Program]:
    """Run the program with handlers that are written to a module in this folder, and kill it at the end."""
    (folder / "handlers_of_a_test.py").write_text(handlers)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "innosystem.runner",
        "--handlers",
        "handlers_of_a_test",
        *more_modules,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "JOBS_ADDRESS": world.addresses["jobs"],
            "WALLETS_ADDRESS": world.addresses["wallets"],
            "REDIS_URL": world.redis_url,
            "REDIS_KEY_PREFIX": world.key_prefix,
            "RUNNER_PROCESSES": "1",
            **environment,
        },
    )
    running = Program(process)
    reading = asyncio.create_task(running.read())
    try:
        await until(lambda: running.logged("runner_ready") or process.returncode is not None)
        yield running
    finally:
        # `kill` asks for the status of one that has just ended, and whoever waits for it would be told 255.
        if not gone(process.pid):
            process.kill()
        await process.wait()
        await reading


def gone(pid: int) -> bool:
    """Whether a process has ended; it may still be there for its parent to ask about."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        # The second if it ends between the open and the read.
        return True
