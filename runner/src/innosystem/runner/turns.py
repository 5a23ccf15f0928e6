"""Who has a process next, and how long jobs wait for one."""

import asyncio
from abc import ABC, abstractmethod
from random import uniform
from typing import Final

from innosystem.runner.intake import ProcessIntake

# A job that waits longer for a process is handed back, to runners that may have one.
_WAIT_SECONDS: Final = 1.0
# Suspects keep nobody waiting, so they may wait here: others that have room for them are few.
_PARK_SECONDS: Final = 30.0
# Taken again at once, suspects would go to and fro between runners that are full.
_AWAY_SECONDS: Final = (5.0, 15.0)


class NotBegun(Exception):
    """A handler could not be called here soon; others may run the job.

    Attributes:
        wait_seconds: How long the job is not to be taken again.
    """

    def __init__(self, reason: str, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class Turns(ABC):
    """Lets only so many jobs have a process at the same time.

    Args:
        count: How many.
        intake: Is told of jobs that wait for a process.
    """

    def __init__(self, count: int, intake: ProcessIntake) -> None:
        self._free = asyncio.Semaphore(count)
        self._intake = intake

    @abstractmethod
    async def take(self) -> None:
        """Wait for a turn.

        Raises:
            NotBegun: That would take long.
        """

    def give_back(self, rest_seconds: float = 0.0) -> None:
        """Let the next one have a turn, after a while."""
        asyncio.get_running_loop().call_later(rest_seconds, self._free.release)

    def refusal(self, reason: str) -> NotBegun:
        """Make what says that a job has no turn."""
        return NotBegun(reason)


class BriefTurns(Turns):
    """Turns of handlers that need a process: what has none within a second is handed back, and fewer jobs are taken."""

    async def take(self) -> None:
        """Wait for a turn, a second at most."""
        begun_before, begun = self._intake.waits(), False
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                begun = await self._free.acquire()
        except TimeoutError:
            raise self.refusal("no process was free") from None
        finally:
            self._intake.waited(begun_before, begun=begun)


class ParkedTurns(Turns):
    """Turns of suspects. Those that wait hold no slot of the runner, so that nobody waits behind them.

    Args:
        count: How many suspects run at the same time.
        intake: Is told of those that wait.
        parked_max: How many may wait here. Those beyond are handed back at once.
    """

    def __init__(self, count: int, intake: ProcessIntake, parked_max: int) -> None:
        super().__init__(count, intake)
        self._parked_max = parked_max

    async def take(self) -> None:
        """Wait for a turn where there is room to wait."""
        if not self._free.locked():
            await self._free.acquire()
            return
        if self._intake.parked >= self._parked_max:
            raise self.refusal("too many suspects wait for a process")
        self._intake.park(1)
        try:
            async with asyncio.timeout(_PARK_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise self.refusal("no process was free for a suspect") from None
        finally:
            self._intake.park(-1)

    def refusal(self, reason: str) -> NotBegun:
        """Make what says that a suspect has no turn, and comes again when others may have had theirs."""
        return NotBegun(reason, uniform(*_AWAY_SECONDS))  # noqa: S311 - not a secret
