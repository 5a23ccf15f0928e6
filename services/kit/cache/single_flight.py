"""Single flight: readers that miss the same key wait for the same load."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Generic, TypeVar

from services.kit.cache.keys import Key

K = TypeVar("K", bound=Key)
V = TypeVar("V")


class SharedLoad(Generic[K, V]):
    """A load on its way, in a task of its own: it outlives any reader that gives up, but not the last one.

    Args:
        keys: What is loaded.
        began: When.
    """

    def __init__(self, keys: Sequence[K], began: float) -> None:
        self.keys = keys
        self.began = began
        self.abandoned = False
        self._readers = 0
        self._task: asyncio.Task[Mapping[K, V]] | None = None

    def start(self, work: Coroutine[Any, Any, Mapping[K, V]]) -> asyncio.Task[Mapping[K, V]]:
        """Begins the load."""
        self._task = asyncio.create_task(work)
        # A failure belongs to the readers; if none is left there is nobody to tell, and asyncio must not complain.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._task

    def join(self) -> None:
        """Counts a reader, before it waits for anything: the load is not given up while it is needed."""
        self._readers += 1

    def leave(self) -> None:
        """Counts a reader out, whether it got the result or was cancelled; the last one ends a load in vain."""
        self._readers -= 1
        if not self._readers and self._task is not None and not self._task.done():
            self.abandoned = True
            self._task.cancel()

    async def result(self) -> Mapping[K, V]:
        """Waits for the load and answers what it found, or raises what it raised."""
        if self._task is None:
            raise RuntimeError("the load was never started")
        return await asyncio.shield(self._task)
