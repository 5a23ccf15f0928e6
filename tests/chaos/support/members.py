"""The processes of a run: started, killed, frozen, told to stop, and found out when they end by themselves."""

import asyncio
import signal
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from tests.e2e.processes import Process

LISTENS, READY = "serving", "runner_ready"


class Member:
    """One process of the platform that is always to run: when a fault has ended it, it is started again.

    Attributes:
        name: Such as `jobs-1`.
        turn: Held by a fault as long as it has its way with the process.
        complaints: What it did that it should not.
        history: Its processes, the present one last.
    """

    def __init__(
        self,
        name: str,
        module: str,
        *arguments: str,
        environment: Callable[[], Mapping[str, str]],
        folder: Path,
        killed: Callable[[], Set[int]] = frozenset,
    ) -> None:
        """Describe it.

        Args:
            name: Such as `jobs-1`.
            module: What `python -m` runs.
            arguments: Its command line.
            environment: Its settings, asked for with each start.
            folder: Where it works.
            killed: The processes that a handler has killed, which is no fault of theirs.
        """
        self._killed = killed
        self.name = name
        self.turn = asyncio.Lock()
        self.complaints: list[str] = []
        self.history: list[Process] = []
        self._module = module
        self._arguments = arguments
        self._environment = environment
        self._folder = folder
        # A runner that can reach nobody in its grace period says so by a 1.
        self._may_end_with = (0, 1) if name.startswith("runner") else (0,)
        self._frozen = False

    @property
    def process(self) -> Process:
        """The present process."""
        return self.history[-1]

    def start(self) -> None:
        """Start a process."""
        self._frozen = False
        self.history.append(
            Process(self._module, *self._arguments, environment=self._environment(), folder=self._folder)
        )

    async def started(self, event: str) -> dict[str, Any]:
        """Wait until it says that it has started; return what it says."""
        return await asyncio.to_thread(self.process.logged, event)

    def freeze(self) -> None:
        """Has it stand still, with all that it holds."""
        if self.process.running:
            self._frozen = True
            self.process.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it continue."""
        if self._frozen and self.process.running:
            self.process.send(signal.SIGCONT)
        self._frozen = False

    async def kill(self) -> None:
        """End it as the kernel does."""
        await asyncio.to_thread(self.process.kill)

    async def roll(self) -> None:
        """Tells it to stop, and starts another."""
        self.thaw()
        # A process that gets the signal before it listens for signals is ended by it.
        begun = self.process.lines(LISTENS) or self.process.lines(READY)
        may_end_with = self._may_end_with if begun else (*self._may_end_with, -signal.SIGTERM)
        try:
            status = await asyncio.to_thread(self.process.stop)
        except TimeoutExpired:
            self.complaints.append(f"{self.name} did not stop when it was asked to")
            await self.kill()
        else:
            if status not in may_end_with:
                self.complaints.append(f"{self.name} was asked to stop and ended with {status}")
        self.start()

    def look(self) -> None:
        """Start it again if it has ended by itself, and complains."""
        if self.turn.locked() or self.process.running:
            return
        status = self.process.wait()
        if status != -signal.SIGKILL or self.process.pid not in self._killed():
            said = (self.process.errors or self.process.output)[-500:]
            self.complaints.append(f"{self.name} ended by itself with {status}: {said}")
        self.start()

    def lines(self, event: str, **values: Any) -> list[dict[str, Any]]:
        """The lines of its logs, of all its processes, with this event and these values."""
        return [line for process in self.history for line in process.lines(event, **values)]

    def defects(self) -> list[str]:
        """What its processes wrote that only a defect makes them write."""
        found = [f"{self.name}: {error}" for process in self.history if (error := _traceback(process.errors))]
        for event, values in _DEFECTS.items():
            found += [f"{self.name}: {event}: {str(line)[:1500]}" for line in self.lines(event, **values)]
        return found


# Loops log at this level what they did not foresee.
_DEFECTS: Mapping[str, Mapping[str, str]] = {
    "unexpected_error": {},
    "unexpected_error_in_batch": {},
    "background_work_failing": {"level": "error"},
    "runner_broken": {},
    "execution_failed": {},
}


def _traceback(text: str) -> str:
    _, mark, rest = text.partition("Traceback (most recent call last)")
    return (mark + rest)[-1500:]
