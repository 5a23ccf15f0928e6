"""What runs in the background for as long as a process serves."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

_CANCEL_SECONDS = 0.5


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Runs coroutines until this is cancelled; the failure of one ends it. None of them is left when it returns.

    Not a TaskGroup: that cancels its tasks once, see `end`. And `gather` returns with the first that is cancelled.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        await end(tasks)


async def end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancels tasks until they have ended. What they ended with was logged or raised before.

    Once may not be enough: `asyncio.wait_for` of Python 3.11, which redis-py uses, swallows a cancellation that comes
    at the moment when what it waits for is done. A cancellation of the caller meanwhile asks for what is being done
    already, and is not passed on.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait(pending, timeout=_CANCEL_SECONDS)
        pending = {task for task in pending if not task.done()}
    await asyncio.gather(*tasks, return_exceptions=True)
