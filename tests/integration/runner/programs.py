"""The program of the runner, with the handlers of a test."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.integration.runner.conftest import RunnerStack
from tests.support.until import until


class Program:
    """A running `python -m innosystem.runner` and its log lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.text: list[str] = []

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log lines so far."""
        return [json.loads(line) for line in self.text if line.startswith("{")]

    async def read(self) -> None:
        """Read the output to its end."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.text.append(line.decode())

    def logged(self, event: str) -> bool:
        """Return whether an event was logged."""
        return any(line["event"] == event for line in self.lines)

    def starts(self) -> int:
        """Return how many times the runner was ready."""
        return sum(line["event"] == "runner_ready" for line in self.lines)

    async def ended(self) -> int:
        """Wait for the process to end, and return its status."""
        async with asyncio.timeout(30):
            return await self.process.wait()


@asynccontextmanager
async def running_program(
    world: RunnerStack, folder: Path, handlers: str, *more_modules: str, **environment: str
) -> AsyncIterator[Program]:
    """Run the program with handlers from a module written to this folder, and kill it at the end."""
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
        # `kill` would consume the status of a process that has just ended, and `wait` would return 255.
        if not gone(process.pid):
            process.kill()
        await process.wait()
        await reading


def gone(pid: int) -> bool:
    """Return whether a process has ended; it may be a zombie until its parent waits for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        # ProcessLookupError if the process ends between open and read.
        return True
