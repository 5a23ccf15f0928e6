"""Lets SIGTERM and Ctrl-C end a command by cancelling it, so that it stops all that it has started."""

import asyncio
import signal
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def until_stopped(work: Coroutine[Any, Any, T]) -> T:
    """Does the work; SIGTERM or SIGINT cancels it, once: what it then stops is not cut short by another.

    Raises:
        KeyboardInterrupt: If it was cancelled by a signal.
    """
    task = asyncio.ensure_future(work)
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if not stopped:
            stopped = True
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if stopped:
            raise KeyboardInterrupt from None
        raise


async def run_to_completion(work: Awaitable[T]) -> T:
    """Awaits work that must come to its end: a cancellation meanwhile is raised only then.

    For what starts or stops servers. A start that goes on behind its caller's back would leave a server that nobody
    stops.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        task.result()
        raise
