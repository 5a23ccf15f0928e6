"""A stage of the pipeline: sends everything that waits as its next batch."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from typing import Final, Generic, TypeVar

import structlog

from innosystem.runner.calls import CallFailed, Refused

log = structlog.get_logger()

# A call that took long did so for other reasons than a busy service.
_REST_SECONDS_MAX: Final = 0.05
BATCH_ITEMS_MAX: Final = 1000
# Batches may have 8 MiB: this leaves room for an item of 1 MiB.
BATCH_BYTES_MAX: Final = 7 * 1024 * 1024

Item = TypeVar("Item")


class Stage(ABC, Generic[Item]):
    """Sends items in batches, one batch at a time.

    The next batch is what arrived while the last one was under way, and while the stage rested after
    it. So a single item on an idle system is sent at once, and batches grow with the load.

    Attributes:
        name: In logs.
        rest: How long the stage rests after a call, in times that the call took. A busy service
            answers late: then fewer and larger batches cost it far less than many small ones.
    """

    name: str
    rest: float = 0.0

    def __init__(self) -> None:
        self._waiting: deque[Item] = deque()
        self._arrived = asyncio.Event()

    def put(self, item: Item) -> None:
        """Have an item sent with the next batch."""
        self._waiting.append(item)
        self._arrived.set()

    def put_later(self, item: Item, seconds: float) -> None:
        """Have an item sent after a while."""
        asyncio.get_running_loop().call_later(seconds, self.put, item)

    def take_all(self) -> list[Item]:
        """Take back everything that waits to be sent."""
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    async def run(self) -> None:
        """Send what comes, until cancelled."""
        while True:
            await self._arrived.wait()
            batch = self._next_batch()
            if batch:
                began = time.monotonic()
                await self._send(batch)
                if self.rests_after(batch):
                    await asyncio.sleep(min(self.rest * (time.monotonic() - began), _REST_SECONDS_MAX))
            else:
                self._arrived.clear()

    def _next_batch(self) -> list[Item]:
        batch: list[Item] = []
        size = 0
        while self._waiting and len(batch) < BATCH_ITEMS_MAX:
            size += self.size(self._waiting[0])
            if batch and size > BATCH_BYTES_MAX:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _send(self, batch: list[Item]) -> None:
        """Send a batch; one that is refused as a whole is halved until the culprit is alone."""
        batch = self._wanted(batch)
        if not batch:
            return
        try:
            await self.send(batch)
        except Refused as refusal:
            if len(batch) == 1:
                await self._give_up(batch, refusal)
                return
            middle = len(batch) // 2
            await self._send(batch[:middle])
            await self._send(batch[middle:])
        except CallFailed as failure:
            await self._give_up(batch, failure)
        except Exception as exc:
            # A defect of ours must cost these jobs, which the platform rescues, and not the runner.
            log.exception("stage_failed", stage=self.name, items=len(batch))
            await self._give_up(batch, exc)

    async def _give_up(self, batch: list[Item], error: Exception) -> None:
        if left := self._wanted(batch):
            await self.give_up(left, error)

    def _wanted(self, batch: list[Item]) -> list[Item]:
        return [item for item in batch if self.is_wanted(item)]

    def rests_after(self, batch: list[Item]) -> bool:
        """Tell whether the stage is to rest after a batch."""
        return self.rest > 0

    @abstractmethod
    async def send(self, batch: list[Item]) -> None:
        """Send a batch and deal with its answer.

        Raises:
            CallFailed: There is no answer.
        """

    @abstractmethod
    async def give_up(self, batch: list[Item], error: Exception) -> None:
        """Deal with items that are not sent any more."""

    def is_wanted(self, item: Item) -> bool:
        """Tell whether an item is still to be sent: it may have lost its meaning while it waited."""
        return True

    def size(self, item: Item) -> int:
        """Tell how many bytes an item takes in its batch; 0 where it does not matter."""
        return 0
