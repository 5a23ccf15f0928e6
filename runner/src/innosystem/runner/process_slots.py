"""Who has a process next, and how long jobs wait for one."""

import asyncio
from abc import ABC, abstractmethod
from random import uniform
from typing import Final

from innosystem.runner.process_backpressure import ProcessBackpressure

# A job that waits longer for a process is handed back, to runners that may have one.
_WAIT_SECONDS: Final = 1.0
# Suspects keep nobody waiting, so they may wait here: others that have room for them are few.
_PARK_SECONDS: Final = 30.0
# Taken again at once, suspects would go to and fro between runners that are full.
_AWAY_SECONDS: Final = (5.0, 15.0)


class NotStarted(Exception):
    """A handler could not be called here soon; others may run the job.

    Attributes:
        wait_seconds: How long the job is not to be taken again.
    """

    def __init__(self, reason: str, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class ProcessSlots(ABC):
    """Lets only so many jobs have a process at the same time.

    Args:
        count: How many.
        backpressure: Is told of jobs that wait for a process.
    """

    def __init__(self, count: int, backpressure: ProcessBackpressure) -> None:
        self._free = asyncio.Semaphore(count)
        self._backpressure = backpressure

    @abstractmethod
    async def acquire(self) -> None:
        """Wait for a turn.

        Raises:
            NotStarted: That would take long.
        """

    def release(self, rest_seconds: float = 0.0) -> None:
        """Let the next one have a turn, after a while."""
        asyncio.get_running_loop().call_later(rest_seconds, self._free.release)

    def not_started(self, reason: str) -> NotStarted:
        """Make what says that a job has no turn."""
        return NotStarted(reason)


class PoolSlots(ProcessSlots):
    """Slots for handlers that need a process: a job that has none after a second is returned."""

    async def acquire(self) -> None:
        """Wait for a turn, a second at most."""
        begun_before, begun = self._backpressure.begin_wait(), False
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                begun = await self._free.acquire()
        except TimeoutError:
            raise self.not_started("no process was free") from None
        finally:
            self._backpressure.end_wait(begun_before, begun=begun)


class SuspectSlots(ProcessSlots):
    """ProcessSlots of suspects. Those that wait hold no slot of the runner, so that nobody waits behind them.

    Args:
        count: How many suspects run at the same time.
        backpressure: Is told of those that wait.
        parked_max: How many may wait here. Those beyond are handed back at once.
    """

    def __init__(self, count: int, backpressure: ProcessBackpressure, parked_max: int) -> None:
        super().__init__(count, backpressure)
        self._parked_max = parked_max

    async def acquire(self) -> None:
        """Wait for a turn where there is room to wait."""
        if not self._free.locked():
            await self._free.acquire()
            return
        if self._backpressure.parked >= self._parked_max:
            raise self.not_started("too many suspects wait for a process")
        self._backpressure.park(1)
        try:
            async with asyncio.timeout(_PARK_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise self.not_started("no process was free for a suspect") from None
        finally:
            self._backpressure.park(-1)

    def not_started(self, reason: str) -> NotStarted:
        """Make what says that a suspect has no turn, and comes again when others may have had theirs."""
        return NotStarted(reason, uniform(*_AWAY_SECONDS))  # noqa: S311 - not a secret
