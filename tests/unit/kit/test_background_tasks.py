"""How the server ends what runs beside it."""

import asyncio

from services.kit.rpc.server import _cancel


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again() -> None:
    swallowed = 0

    async def deaf_once() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > 1:
                    raise

    async def broken() -> None:
        raise ValueError

    tasks = [asyncio.create_task(work) for work in (deaf_once(), broken(), asyncio.sleep(0))]
    await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await _cancel(tasks)

    assert swallowed == 2
    assert all(task.done() for task in tasks)


async def test_without_tasks_there_is_nothing_to_wait_for() -> None:
    await _cancel([])
