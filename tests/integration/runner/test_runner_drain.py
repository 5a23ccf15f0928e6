"""A runner that is asked to stop finishes what it can, returns the rest, and logs the result."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import structlog
from structlog.typing import EventDict

from innosystem.runner import JobContext
from innosystem.runner.runner import Runner
from tests.integration.runner.conftest import RunnerStack
from tests.integration.runner.fakes import StoredJob
from tests.support.until import until

DAY_SECONDS = 24 * 3600.0


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    """The log lines."""
    with structlog.testing.capture_logs() as captured:
        yield captured


def logged(lines: list[EventDict], event: str) -> list[EventDict]:
    return [line for line in lines if line["event"] == event]


@asynccontextmanager
async def running(world: RunnerStack, **settings: Any) -> AsyncIterator[tuple[Runner, "asyncio.Task[bool]"]]:
    """Run a runner that the test stops; the result of the task is whether the drain was complete."""
    async with Runner.open(world.settings(**settings), world.registry) as runner:
        task = asyncio.create_task(runner.run())
        try:
            async with asyncio.timeout(60):
                yield runner, task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def is_returned(job: StoredJob) -> bool:
    return (job.returned_because, job.lease_id, job.job.attempt) == ("runner stopping", "", 0)


async def wait_for_ever(input: Any) -> None:
    await asyncio.Event().wait()


async def echo(input: Any) -> Any:
    return input


async def test_a_job_that_does_not_finish_in_time_is_returned_and_uses_up_no_attempt(
    world: RunnerStack, lines: list[EventDict]
) -> None:
    returned_when_cancelled: list[bool] = []
    begun = asyncio.Event()

    async def hold(input: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            returned_when_cancelled.append(is_returned(job))

    world.registry.add("hold", hold)
    job = await world.submit("hold")
    async with running(world, runner_drain_seconds=0.1) as (runner, task):
        await until(begun.is_set)
        runner.stop()
        assert await task
        assert not runner.has_stuck_handlers

    # Stopped first, so that it does not overlap with the next one.
    assert returned_when_cancelled == [False]
    assert is_returned(job)
    assert world.jobs.completions[job.job.id] == 0
    assert logged(lines, "drained")


async def test_jobs_have_the_drain_time_to_finish_but_for_what_handing_back_takes(
    world: RunnerStack, lines: list[EventDict]
) -> None:
    world.registry.add("hold", wait_for_ever)
    job = await world.submit("hold")
    async with running(world, runner_drain_seconds=2.5) as (runner, task):
        await until(lambda: bool(job.lease_id))
        began = time.monotonic()
        runner.stop()
        await until(lambda: bool(logged(lines, "handing_back")))
        # A fifth of the time, and at least a second, is reserved for returning jobs.
        assert time.monotonic() - began > 1.4
        assert await task

    assert is_returned(job)


async def test_stopped_twice_a_runner_returns_its_jobs_immediately(world: RunnerStack) -> None:
    world.registry.add("hold", wait_for_ever)
    job = await world.submit("hold")
    async with running(world, runner_drain_seconds=DAY_SECONDS) as (runner, task):
        await until(lambda: bool(job.lease_id))
        runner.stop()
        runner.stop()
        assert await task

    assert is_returned(job)


async def test_stopped_three_times_a_runner_waits_for_nothing(
    world: RunnerStack, lines: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("innosystem.runner.drain._HAND_BACK_SECONDS_MAX", DAY_SECONDS)
    world.registry.add("hold", wait_for_ever)
    job = await world.submit("hold")
    async with running(world, runner_drain_seconds=DAY_SECONDS) as (runner, task):
        await until(lambda: [flying.stage for flying in runner._in_hand.jobs] == ["run"])
        world.jobs.outage.on = True
        for _ in range(3):
            runner.stop()
        assert not await task

    assert logged(lines, "drain_incomplete")[0]["jobs"] == [{"id": job.job.id, "stage": "return"}]


async def test_a_job_whose_handler_is_stuck_in_a_thread_is_returned_as_well(world: RunnerStack) -> None:
    begun, asked, go_on = threading.Event(), threading.Event(), threading.Event()

    def stuck(input: Any, job: JobContext) -> None:
        begun.set()
        limit = time.monotonic() + 30
        while not job.stop_requested() and time.monotonic() < limit:
            time.sleep(0.01)
        asked.set()
        go_on.wait(30)

    world.registry.add("stuck", stuck)
    job = await world.submit("stuck")
    try:
        async with running(world, runner_drain_seconds=0.1) as (runner, task):
            await until(begun.is_set)
            runner.stop()
            assert await task
            assert runner.has_stuck_handlers
            await until(asked.is_set)
    finally:
        go_on.set()

    assert is_returned(job)


async def test_a_coroutine_that_does_not_let_itself_be_cancelled_does_not_keep_its_job(world: RunnerStack) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def stubborn(input: Any) -> None:
        begun.set()
        while not go_on.is_set():
            with suppress(asyncio.CancelledError):
                await go_on.wait()

    world.registry.add("stubborn", stubborn)
    job = await world.submit("stubborn")
    async with running(world, runner_drain_seconds=0.1) as (runner, task):
        await until(begun.is_set)
        runner.stop()
        assert await task
        assert runner.has_stuck_handlers
        go_on.set()
        await until(lambda: not runner.has_stuck_handlers)

    assert is_returned(job)
    assert world.jobs.completions[job.job.id] == 0


async def test_a_job_whose_claim_succeeds_late_is_returned_without_a_run(world: RunnerStack) -> None:
    ran = False

    async def note(input: Any) -> None:
        nonlocal ran
        ran = True

    world.registry.add("note", note)
    world.jobs.claiming.clear()
    job = await world.submit("note")
    async with running(world, runner_drain_seconds=DAY_SECONDS) as (runner, task):
        await until(lambda: bool(job.lease_id))
        runner.stop()
        runner.stop()
        with structlog.testing.capture_logs() as lines:
            await until(lambda: bool(logged(lines, "handing_back")))
        world.jobs.claiming.set()
        assert await task

    assert is_returned(job)
    assert not ran


async def test_a_job_that_was_cancelled_meanwhile_does_not_spoil_the_drain(
    world: RunnerStack, lines: list[EventDict]
) -> None:
    world.registry.add("hold", wait_for_ever)
    job = await world.submit("hold")
    async with running(world, runner_drain_seconds=0.1) as (runner, task):
        await until(lambda: bool(job.lease_id))
        job.cancel()
        runner.stop()
        assert await task

    assert logged(lines, "return_refused")[0]["reason"] == "LEASE_LOST"


async def test_more_jobs_than_fit_into_a_batch_are_all_returned(world: RunnerStack) -> None:
    world.registry.add("hold", wait_for_ever)
    jobs = [await world.submit("hold") for _ in range(1200)]
    async with running(world, runner_concurrency=1200, runner_drain_seconds=0.1) as (runner, task):
        await until(lambda: all(job.lease_id for job in jobs))
        runner.stop()
        assert await task

    assert all(is_returned(job) for job in jobs)
    assert world.jobs.batches["return"] >= 2


async def test_jobs_that_cannot_be_returned_are_logged(world: RunnerStack, lines: list[EventDict]) -> None:
    world.registry.add("hold", wait_for_ever)
    job = await world.submit("hold")
    async with running(world, runner_drain_seconds=0.1) as (runner, task):
        await until(lambda: bool(job.lease_id))
        world.jobs.outage.on = True
        runner.stop()
        assert not await task

    given_up = logged(lines, "report_given_up")
    left = logged(lines, "drain_incomplete")
    assert [line["job_ids"] for line in given_up] == [[job.job.id]] or left[0]["jobs"][0]["id"] == job.job.id


async def test_a_result_that_can_not_be_reported_is_named(world: RunnerStack, lines: list[EventDict]) -> None:
    world.registry.add("echo", echo)
    async with running(world, runner_drain_seconds=0.1) as (runner, task):
        world.jobs.completing.clear()
        job = await world.submit("echo", 1)
        await until(lambda: world.jobs.completions[job.job.id] == 1)
        runner.stop()
        assert not await task
    world.jobs.completing.set()

    assert logged(lines, "drain_incomplete")[0]["jobs"] == [{"id": job.job.id, "stage": "complete"}]


async def test_charges_that_can_not_be_made_in_time_are_left_to_the_settler(
    world: RunnerStack, lines: list[EventDict]
) -> None:
    world.registry.add("echo", echo)
    world.wallets.outage.on = True
    job = await world.submit("echo", 1)
    async with running(world, runner_drain_seconds=0.1) as (runner, task):
        await until(lambda: world.wallets.outage.refused_calls > 0)
        runner.stop()
        assert await task

    assert job.output == 1
    assert logged(lines, "charges_left_to_settler")[0]["job_ids"] == [job.job.id]


async def test_a_lost_job_whose_thread_runs_on_is_not_waited_for(world: RunnerStack, lines: list[EventDict]) -> None:
    go_on = threading.Event()
    world.registry.add("stuck", lambda input: go_on.wait(30))
    job = await world.submit("stuck")
    try:
        async with running(world, runner_drain_seconds=DAY_SECONDS, runner_lease_seconds=1, runner_concurrency=1) as (
            runner,
            task,
        ):
            await until(lambda: bool(job.lease_id))
            job.lose()
            await until(lambda: bool(logged(lines, "lease_lost")))
            # Without room the runner does not poll.
            runner.stop()
            assert await task
            assert runner.has_stuck_handlers
    finally:
        go_on.set()

    assert job.returned_because == ""
