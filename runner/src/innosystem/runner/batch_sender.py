"""A stage of the pipeline: sends everything that waits as its next batch."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from typing import Final, Generic, TypeVar

import structlog

from innosystem.runner.service_client import CallFailed, HeldUp, Refused

log = structlog.get_logger()

# A call that took long did so for other reasons than a busy service.
_REST_SECONDS_MAX: Final = 0.05
BATCH_ITEMS_MAX: Final = 1000
# A batch that takes longer does not hold up the next one.
_PATIENCE_SECONDS: Final = 0.5
_BATCHES_MAX: Final = 4
# Batches may have 8 MiB: this leaves room for an item of 1 MiB.
BATCH_BYTES_MAX: Final = 7 * 1024 * 1024

Item = TypeVar("Item")


class BatchSender(ABC, Generic[Item]):
    """Sends items in batches, one batch at a time unless one takes long.

    The next batch is what arrived while the last one was under way, and while the stage rested after
    it. So a single item on an idle system is sent at once, and batches grow with the load.

    A batch that is held up, by a row that somebody has locked say, is divided until what holds it up is
    alone. What was held up is a suspect: it is never sent together with others again.

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
        self._suspects: asyncio.Queue[list[Item]] = asyncio.Queue()
        self._under_way: set[asyncio.Task[None]] = set()

    def put(self, item: Item) -> None:
        """Have an item sent with the next batch."""
        self._waiting.append(item)
        self._arrived.set()

    def put_later(self, item: Item, seconds: float) -> None:
        """Have an item sent after a while."""
        asyncio.get_running_loop().call_later(seconds, self.put, item)

    def put_alone_later(self, item: Item, seconds: float) -> None:
        """Have an item sent after a while, without others."""
        asyncio.get_running_loop().call_later(seconds, self._suspects.put_nowait, [item])

    def take_all(self) -> list[Item]:
        """Take back everything that waits to be sent."""
        taken = list(self._waiting)
        self._waiting.clear()
        while not self._suspects.empty():
            taken += self._suspects.get_nowait()
        return taken

    async def run(self) -> None:
        """Send what comes, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_BATCHES_MAX):
                group.create_task(self._send_suspects())
            while True:
                await self._arrived.wait()
                batch = self._next_batch()
                if batch:
                    await self._begin(group, batch)
                else:
                    self._arrived.clear()

    async def _begin(self, group: asyncio.TaskGroup, batch: list[Item]) -> None:
        """Have a batch sent, and wait until the next one may be."""
        began = time.monotonic()
        sending = group.create_task(self._send(batch))
        self._under_way.add(sending)
        sending.add_done_callback(self._under_way.discard)
        await asyncio.wait([sending], timeout=_PATIENCE_SECONDS)
        while len(self._under_way) >= _BATCHES_MAX:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
        if sending.done() and self.rests_after(batch):
            await asyncio.sleep(min(self.rest * (time.monotonic() - began), _REST_SECONDS_MAX))

    async def _send_suspects(self) -> None:
        while True:
            await self._send(await self._suspects.get(), suspect=True)

    def _next_batch(self) -> list[Item]:
        batch: list[Item] = []
        size = 0
        while self._waiting and len(batch) < BATCH_ITEMS_MAX:
            size += self.size(self._waiting[0])
            if batch and size > BATCH_BYTES_MAX:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _send(self, batch: list[Item], *, suspect: bool = False) -> None:
        """Send a batch. Whatever happens, each of its items is dealt with, or abandoned."""
        try:
            await self._send_divided(batch, suspect=suspect)
        except Exception:
            # A defect of ours must cost these jobs, which the platform rescues, and not the runner.
            log.exception("stage_failed", stage=self.name, items=len(batch))
            self.abandon(self._wanted(batch))
        except BaseException:
            # Cancelled, by whomever: nobody else knows of these.
            self.abandon(self._wanted(batch))
            raise

    async def _send_divided(self, batch: list[Item], *, suspect: bool) -> None:
        """Send a batch; one that is refused as a whole is halved until the culprit is alone."""
        batch = self._wanted(batch)
        if not batch:
            return
        middle = len(batch) // 2
        try:
            await self.send(batch, suspect=suspect)
        except HeldUp as failure:
            if middle:
                self._suspects.put_nowait(batch[:middle])
                self._suspects.put_nowait(batch[middle:])
            else:
                await self.put_aside(batch[0], failure)
        except Refused as refusal:
            if middle:
                await self._send(batch[:middle], suspect=suspect)
                await self._send(batch[middle:], suspect=suspect)
            else:
                await self._give_up(batch, refusal)
        except CallFailed as failure:
            await self._give_up(batch, failure)

    async def _give_up(self, batch: list[Item], error: Exception) -> None:
        if left := self._wanted(batch):
            await self.give_up(left, error)

    def _wanted(self, batch: list[Item]) -> list[Item]:
        return [item for item in batch if self.is_wanted(item)]

    def rests_after(self, batch: list[Item]) -> bool:
        """Tell whether the stage is to rest after a batch."""
        return self.rest > 0

    @abstractmethod
    async def send(self, batch: list[Item], *, suspect: bool) -> None:
        """Send a batch and deal with its answer.

        Args:
            batch: At least one item.
            suspect: Whether it was held up before.

        Raises:
            CallFailed: There is no answer.
        """

    @abstractmethod
    async def give_up(self, batch: list[Item], error: Exception) -> None:
        """Deal with items that are not sent any more."""

    @abstractmethod
    async def put_aside(self, item: Item, error: HeldUp) -> None:
        """Deal with an item that was alone and held up all the same."""

    @abstractmethod
    def abandon(self, items: list[Item]) -> None:
        """Let go of items after a defect: the platform finds and rescues their jobs."""

    def is_wanted(self, item: Item) -> bool:
        """Tell whether an item is still to be sent: it may have lost its meaning while it waited."""
        return True

    def size(self, item: Item) -> int:
        """Tell how many bytes an item takes in its batch; 0 where it does not matter."""
        return 0
