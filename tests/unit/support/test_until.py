"""A condition that never holds fails with what was waited for."""

import asyncio

import pytest

from tests.support.until import until, until_sync


def test_the_first_true_value_is_returned() -> None:
    values = iter([0, None, 7])
    assert until_sync(lambda: next(values)) == 7


def test_a_failure_shows_the_condition_its_last_value_and_the_context() -> None:
    entries: list[int] = []
    with pytest.raises(AssertionError, match=r"(?s)not within 0 s, last seen as \[\]: .*entries\).*\nthe log"):
        until_sync(lambda: list(entries), limit_seconds=0, context=lambda: "the log")


async def test_functions_and_coroutine_functions_are_polled_while_other_tasks_run() -> None:
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, done.set)

    async def is_done() -> bool:
        return done.is_set()

    assert await until(is_done)
    assert await until(done.is_set)


async def test_a_call_that_hangs_fails_at_the_limit() -> None:
    hanging = asyncio.Event()
    with pytest.raises(AssertionError, match=r"not within 0\.01 s, last seen as None: .*wait"):
        await until(hanging.wait, 0.01)


async def test_a_timeout_of_the_condition_is_its_own() -> None:
    def ended() -> bool:
        raise TimeoutError("of the condition")

    with pytest.raises(TimeoutError, match="of the condition"):
        await until(ended)
