"""SIGTERM and Ctrl-C cancel a command, so that it stops everything that it has started."""

import asyncio
import signal
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def until_stopped(work: Coroutine[Any, Any, T]) -> T:
    """Do the work, which the first SIGTERM or SIGINT cancels; later signals do not interrupt the cleanup.

    Raises:
        KeyboardInterrupt: A signal has cancelled the work.
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
    """Await work that must end before a cancellation takes effect.

    Starting and stopping servers is such work: an abandoned start would leave a server that nothing stops.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        task.result()
        raise
