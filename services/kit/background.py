"""What runs in the background for as long as a process serves."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Runs coroutines until this is cancelled; the failure of one ends it.

    Not a TaskGroup: that cancels its tasks once, and `asyncio.wait_for` of Python 3.11, which redis-py uses, swallows a
    cancellation that comes at the moment when what it waits for is done. Here each further cancellation is passed on.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
