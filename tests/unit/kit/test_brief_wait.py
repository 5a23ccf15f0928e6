"""A batch waits for another service, but not for long, and not while callers wait for it by themselves."""

import asyncio

import pytest

from services.kit.batching.brief_wait import BriefWait

LONG = 3600.0


async def quick() -> int:
    return 1


async def never() -> int:
    await asyncio.Event().wait()
    return 1


async def test_work_that_ends_in_time_returns_its_result() -> None:
    assert await BriefWait(LONG).result_of(quick) == 1


async def test_what_takes_too_long_is_cancelled_and_has_no_result() -> None:
    cancelled = asyncio.Event()

    async def hangs() -> int:
        try:
            return await never()
        finally:
            cancelled.set()

    assert await BriefWait(0.01).result_of(hangs) is None
    assert cancelled.is_set()


async def test_nothing_is_begun_in_a_batch_while_a_caller_waits_by_itself() -> None:
    wait, begun = BriefWait(LONG), False

    async def work() -> int:
        nonlocal begun
        begun = True
        return 1

    with wait.by_itself():
        assert wait.is_over
        assert await wait.result_of(work) is None
    assert not begun
    assert await wait.result_of(work) == 1


async def test_a_caller_that_gives_up_is_no_longer_waited_for() -> None:
    wait = BriefWait(LONG)

    async def call() -> None:
        with wait.by_itself():
            await never()

    caller = asyncio.create_task(call())
    await asyncio.sleep(0)
    assert wait.is_over
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    assert not wait.is_over


async def test_a_timeout_of_the_work_itself_is_its_error() -> None:
    async def times_out() -> int:
        raise TimeoutError("the work's own")

    with pytest.raises(TimeoutError, match="own"):
        await BriefWait(LONG).result_of(times_out)


async def test_who_cancels_the_batch_cancels_the_work() -> None:
    batch = asyncio.create_task(BriefWait(LONG).result_of(never))
    await asyncio.sleep(0)
    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await batch
