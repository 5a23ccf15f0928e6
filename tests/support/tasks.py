"""Tasks that tests start and end."""

import asyncio


async def cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task until it ends, and expect that nothing else has ended it."""
    while not task.done():
        # Python 3.11's wait_for, which redis-py uses, may swallow one.
        task.cancel()
        await asyncio.wait([task], timeout=0.5)
    assert task.cancelled(), task.exception()
