"""Jobs of handlers that do not end as they should are reported nevertheless."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from innosystem.runner.runner import Runner
from tests.integration.runner.conftest import RunnerStack
from tests.support.until import until


async def echo(input: Any) -> Any:
    return input


async def cancels_itself(input: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(3600)


async def test_a_handler_that_cancels_its_own_task_neither_keeps_its_lease_nor_its_slot(world: RunnerStack) -> None:
    world.registry.add("cancels-itself", cancels_itself)
    world.registry.add("echo", echo)
    job = await world.submit("cancels-itself")
    async with world.running(runner_concurrency=1):
        await until(lambda: job.done)
        other = await world.submit("echo", 1)
        await until(lambda: other.done)

    assert job.error.type == "CancelledError"
    assert job.error.retryable


async def test_a_run_that_was_cancelled_by_a_handler_is_reported(world: RunnerStack) -> None:
    """Code in the loop may cancel all tasks, including the runs."""
    entered = asyncio.Event()

    async def waits(input: Any) -> None:
        entered.set()
        await asyncio.Event().wait()

    world.registry.add("waits", waits)
    job = await world.submit("waits")
    async with world.running() as runner:
        await entered.wait()
        for task in list(runner._runs.tasks):
            task.cancel()
        await until(lambda: job.done)

    assert job.error.type == "CancelledError"


async def test_a_runner_that_loses_half_of_its_slots_to_handlers_that_do_not_stop_ends_to_be_started_anew(
    world: RunnerStack,
) -> None:
    go_on, entered = asyncio.Event(), asyncio.Event()

    async def never_stops(input: Any) -> None:
        while not go_on.is_set():
            with suppress(asyncio.CancelledError):
                await go_on.wait()

    async def waits(input: Any) -> None:
        entered.set()
        await asyncio.Event().wait()

    world.registry.add("never-stops", never_stops)
    world.registry.add("waits", waits)
    settings = world.settings(runner_concurrency=2, runner_stop_seconds=0.05, runner_drain_seconds=0)
    async with Runner.open(settings, world.registry) as runner:
        running = asyncio.create_task(runner.run())
        beside = await world.submit("waits")
        await entered.wait()
        stuck = await world.submit("never-stops", timeout_seconds=0.05)
        async with asyncio.timeout(30):
            assert await running is False
        assert runner.has_stuck_handlers
        go_on.set()

    assert stuck.error.type == "TIMEOUT"
    assert beside.returned_because == "runner stopping"


async def test_a_handler_that_does_not_stop_keeps_its_slot(world: RunnerStack) -> None:
    go_on = asyncio.Event()

    async def never_stops(input: Any) -> None:
        while not go_on.is_set():
            with suppress(asyncio.CancelledError):
                await go_on.wait()

    world.registry.add("never-stops", never_stops)
    job = await world.submit("never-stops", timeout_seconds=0.05)
    async with world.running(runner_concurrency=3, runner_stop_seconds=0.05) as runner:
        await until(lambda: job.done and runner._in_hand.jobs == [])
        assert runner._in_hand.room() == 2
        go_on.set()
        await until(lambda: runner._in_hand.room() == 3)


@pytest.mark.parametrize("mode", ["coroutine", "thread"])
async def test_nothing_is_stuck_where_handlers_stop(world: RunnerStack, mode: str) -> None:
    async def waits(input: Any) -> None:
        await asyncio.Event().wait()

    def asks(input: Any, job: Any) -> None:
        for _ in range(3000):
            if job.stop_requested() or asyncio.run(asyncio.sleep(0.01)):
                return

    world.registry.add("waits", waits if mode == "coroutine" else asks)
    job = await world.submit("waits", timeout_seconds=0.05)
    async with world.running(runner_concurrency=2) as runner:
        await until(lambda: job.done and runner._in_hand.jobs == [])
        assert runner._in_hand.room() == 2
        assert not runner.has_stuck_handlers
    assert job.error.type == "TIMEOUT"
