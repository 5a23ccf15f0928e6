"""A stage of the pipeline: sends everything that is waiting as its next batch."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from typing import Final, Generic, TypeVar

import structlog

from innosystem.runner.service_client import CallFailed, HeldUp, Refused

log = structlog.get_logger()

# The slowness of longer calls has other causes than a busy service.
_REST_SECONDS_MAX: Final = 0.05
BATCH_ITEMS_MAX: Final = 1000
# The next batch does not wait for one that takes longer.
_PATIENCE_SECONDS: Final = 0.5
_BATCHES_MAX: Final = 4
# The contract allows 8 MiB a batch: this leaves room for an item of 1 MiB.
BATCH_BYTES_MAX: Final = 7 * 1024 * 1024

Item = TypeVar("Item")


class BatchSender(ABC, Generic[Item]):
    """A sender of items in batches, one batch at a time unless one takes long.

    The next batch contains the items that arrived while the last one was being sent, and while the sender rested
    after it. A single item on an idle system is therefore sent immediately, and batches grow with the load.

    A batch that is held up, for example by a locked row, is divided until the item that holds it up is alone. Items
    that were held up are suspects: they are never sent together with others again.

    Attributes:
        name: The name of the stage in logs.
        rest: How long to rest after a call, as a multiple of the call's duration. A busy service responds late, and
            fewer, larger batches cost it far less than many small ones.
    """

    name: str
    rest: float = 0.0

    def __init__(self) -> None:
        self._waiting: deque[Item] = deque()
        self._arrived = asyncio.Event()
        self._suspects: asyncio.Queue[list[Item]] = asyncio.Queue()
        self._sending: set[asyncio.Task[None]] = set()

    def put(self, item: Item) -> None:
        """Send an item with the next batch."""
        self._waiting.append(item)
        self._arrived.set()

    def put_later(self, item: Item, seconds: float) -> None:
        """Send an item after a delay."""
        asyncio.get_running_loop().call_later(seconds, self.put, item)

    def put_alone_later(self, item: Item, seconds: float) -> None:
        """Send an item alone, after a delay."""
        asyncio.get_running_loop().call_later(seconds, self._suspects.put_nowait, [item])

    def take_all(self) -> list[Item]:
        """Remove and return everything that is waiting to be sent."""
        taken = list(self._waiting)
        self._waiting.clear()
        while not self._suspects.empty():
            taken += self._suspects.get_nowait()
        return taken

    async def run(self) -> None:
        """Send items as they arrive, until cancelled."""
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
        """Start to send a batch, and wait until the next one may be sent."""
        began = time.monotonic()
        sending = group.create_task(self._send(batch))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        await asyncio.wait([sending], timeout=_PATIENCE_SECONDS)
        while len(self._sending) >= _BATCHES_MAX:
            await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)
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
        """Send a batch. In any case each of its items is either handled or abandoned."""
        try:
            await self._send_divided(batch, suspect=suspect)
        except Exception:
            # A defect of the runner must cost only these jobs, which the platform rescues, and not the runner.
            log.exception("stage_failed", stage=self.name, items=len(batch))
            self.abandon(self._wanted(batch))
        except BaseException:
            # Cancelled: nothing else holds these items.
            self.abandon(self._wanted(batch))
            raise

    async def _send_divided(self, batch: list[Item], *, suspect: bool) -> None:
        """Send a batch; halve one that is refused as a whole until the culprit is alone."""
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
        """Return whether to rest after a batch."""
        return self.rest > 0

    @abstractmethod
    async def send(self, batch: list[Item], *, suspect: bool) -> None:
        """Send a batch and handle the response.

        Args:
            batch: At least one item.
            suspect: Whether the batch was held up before.

        Raises:
            CallFailed: The call failed.
        """

    @abstractmethod
    async def give_up(self, batch: list[Item], error: Exception) -> None:
        """Handle items that will not be sent again."""

    @abstractmethod
    async def put_aside(self, item: Item, error: HeldUp) -> None:
        """Handle an item that was held up although it was sent alone."""

    @abstractmethod
    def abandon(self, items: list[Item]) -> None:
        """Drop items after a defect: the platform finds and rescues their jobs."""

    def is_wanted(self, item: Item) -> bool:
        """Return whether an item should still be sent: it may have become obsolete while it waited."""
        return True

    def size(self, item: Item) -> int:
        """Return the size of an item in its batch in bytes; 0 where sizes do not matter."""
        return 0
