"""The slots of processes for handlers, and how long jobs wait for one."""

import asyncio
from abc import ABC, abstractmethod
from random import uniform
from typing import Final

from typing_extensions import override

from innosystem.runner.process_backpressure import ProcessBackpressure

# A job that waits longer for a process is returned to the queue, for runners that may have a free one.
_WAIT_SECONDS: Final = 1.0
# Suspects delay no other job, so they may wait here: few other runners have room for them.
_PARK_SECONDS: Final = 30.0
# The range of delays before a returned suspect is taken again: without one, full runners would exchange suspects.
_RETURN_SECONDS: Final = (5.0, 15.0)


class NotStarted(Exception):
    """A job that would have to wait long for its handler to be called; other runners may run it.

    Attributes:
        wait_seconds: How long the job should stay in the queue before it is taken again.
    """

    def __init__(self, reason: str, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class ProcessSlots(ABC):
    """A bounded number of slots for processes.

    Args:
        count: The number of slots.
        backpressure: Counts the jobs that wait for a process.
    """

    def __init__(self, count: int, backpressure: ProcessBackpressure) -> None:
        self._free = asyncio.Semaphore(count)
        self._backpressure = backpressure

    @abstractmethod
    async def acquire(self) -> None:
        """Wait for a slot.

        Raises:
            NotStarted: The wait would be long.
        """

    def release(self, rest_seconds: float = 0.0) -> None:
        """Free a slot after a delay."""
        asyncio.get_running_loop().call_later(rest_seconds, self._free.release)

    def not_started(self, reason: str) -> NotStarted:
        """Create the exception for a job without a slot."""
        return NotStarted(reason)


class PoolSlots(ProcessSlots):
    """Slots for handlers that need a process: a job that has none after a second is returned."""

    @override
    async def acquire(self) -> None:
        """Wait for a slot, a second at most."""
        begun_before, begun = self._backpressure.begin_wait(), False
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                begun = await self._free.acquire()
        except TimeoutError:
            raise self.not_started("no process was free") from None
        finally:
            self._backpressure.end_wait(begun_before, begun=begun)


class SuspectSlots(ProcessSlots):
    """Slots for suspects. Suspects that wait do not count as running jobs of the runner, so they delay no other job.

    Args:
        count: How many suspects run concurrently.
        backpressure: Counts the suspects that wait.
        parked_max: How many may wait here. Further ones are returned immediately.
    """

    def __init__(self, count: int, backpressure: ProcessBackpressure, parked_max: int) -> None:
        super().__init__(count, backpressure)
        self._parked_max = parked_max

    @override
    async def acquire(self) -> None:
        """Wait for a slot if few enough suspects are waiting."""
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

    @override
    def not_started(self, reason: str) -> NotStarted:
        """Create the exception for a suspect without a slot, with a delay in which slots may become free."""
        return NotStarted(reason, uniform(*_RETURN_SECONDS))  # noqa: S311 - not a secret
