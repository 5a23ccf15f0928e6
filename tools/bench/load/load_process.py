"""A process that generates load. It receives a task, reports readiness, receives the signal to begin, sends a result.

Each of these messages is one line of JSON on its standard input or output.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tools.errors import CommandError
from tools.local.private_files import open_private

_LINE_BYTES_MAX = 256 * 1024 * 1024
_STOP_SECONDS_MAX = 10.0
_TAIL_LINES = 15


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of the platform as a process that ends with this one."""
    return [sys.executable, "-m", "tools.local.die_with_parent", str(os.getpid()), module, *arguments]


class LoadProcess:
    """A load process for the time of an `async with` block, at whose end it is stopped, finished or not.

    Args:
        command: The command to run.
        task: The task, sent immediately; the block begins when the process is ready.
        environment: The complete environment of the process.
        log: The file for its standard error.
    """

    def __init__(
        self, command: Sequence[str], task: Mapping[str, Any], environment: Mapping[str, str], log: Path
    ) -> None:
        self._command = command
        self._task = task
        self._environment = environment
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        with open_private(self._log, "wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=dict(self._environment),
                start_new_session=True,
                limit=_LINE_BYTES_MAX,
            )
        try:
            await self._send(self._task)
            await self._receive()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stop()

    @property
    def pid(self) -> int:
        """The process ID."""
        return self._running().pid

    async def go(self) -> dict[str, Any]:
        """Let the process begin, and return its result.

        Raises:
            CommandError: The process ends without a result; the message shows the end of its standard error.
        """
        await self._send({"go": True})
        return await self._receive()

    async def _send(self, message: Mapping[str, Any]) -> None:
        process = self._running()
        try:
            if process.stdin is not None:
                process.stdin.write(json.dumps(message).encode() + b"\n")
                await process.stdin.drain()
        except ConnectionError:
            await process.wait()
            raise self._ended() from None

    async def _receive(self) -> dict[str, Any]:
        process = self._running()
        line = await process.stdout.readline() if process.stdout is not None else b""
        if not line.endswith(b"\n"):
            await process.wait()
            raise self._ended()
        message: dict[str, Any] = json.loads(line)
        return message

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("the process is not started")
        return self._process

    def _ended(self) -> CommandError:
        lines = self._log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        said = "\n".join(f"  {line}" for line in lines)
        return CommandError(f"{self._log.stem} ended with exit status {self._running().returncode}:\n{said}")

    async def _stop(self) -> None:
        process = self._running()
        if process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS_MAX):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
