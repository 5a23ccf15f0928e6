"""Single flight: readers that miss the same key share one load."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Generic, TypeVar

from services.kit.cache.keys import Key

K = TypeVar("K", bound=Key)
V = TypeVar("V")


class SharedLoad(Generic[K, V]):
    """A load in progress, in a task of its own: it outlives any reader that gives up, except the last one.

    Args:
        keys: The keys that are loaded.
        began: When the load began.
    """

    def __init__(self, keys: Sequence[K], began: float) -> None:
        self.keys = keys
        self.began = began
        self.abandoned = False
        self._readers = 0
        self._task: asyncio.Task[Mapping[K, V]] | None = None

    def start(self, work: Coroutine[Any, Any, Mapping[K, V]]) -> asyncio.Task[Mapping[K, V]]:
        """Start the load."""
        self._task = asyncio.create_task(work)
        # A failure belongs to the readers; without readers, asyncio must not report it as unretrieved.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._task

    def join(self) -> None:
        """Count a reader, before it waits for anything: the load is not cancelled while a reader needs it."""
        self._readers += 1

    def leave(self) -> None:
        """Count a reader out, with or without a result; without readers, an unfinished load is cancelled."""
        self._readers -= 1
        if not self._readers and self._task is not None and not self._task.done():
            self.abandoned = True
            self._task.cancel()

    async def result(self) -> Mapping[K, V]:
        """Wait for the load and return its values, or raise its exception."""
        if self._task is None:
            raise RuntimeError("the load was never started")
        return await asyncio.shield(self._task)
