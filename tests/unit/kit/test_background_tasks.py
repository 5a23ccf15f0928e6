"""How the server ends what runs beside it."""

import asyncio

import pytest

from services.kit.background import end, together


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
        await end(tasks)

    assert swallowed == 2
    assert all(task.done() for task in tasks)


async def test_a_part_that_swallows_a_cancellation_does_not_keep_the_others_together_for_ever() -> None:
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

    async def lasting() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(together(deaf_once(), lasting()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await end([task])

    assert swallowed == 2


async def test_when_parts_have_ended_together_none_of_them_is_left() -> None:
    swallowed = 0
    parts: list[asyncio.Task[None] | None] = []

    async def deaf_twice() -> None:
        nonlocal swallowed
        parts.append(asyncio.current_task())
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > 2:
                    raise

    async def obedient() -> None:
        await asyncio.Event().wait()

    # The one that ends at once is what others are not to be judged by.
    task = asyncio.create_task(together(deaf_twice(), obedient()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await end([task])

    [part] = parts
    assert part is not None
    assert part.done()


async def test_the_failure_of_one_part_ends_all() -> None:
    ended = asyncio.Event()

    async def lasting() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await together(lasting(), broken())
    async with asyncio.timeout(10):
        await ended.wait()


async def test_without_tasks_there_is_nothing_to_wait_for() -> None:
    await end([])
