"""`on_failure` is called once for a job that has failed for good, and for no other."""

import asyncio
import threading
from typing import Any

import pytest
import structlog

from innosystem.runner import JobContext, JobError, Snooze
from tests.integration.runner.conftest import RunnerStack
from tests.support.until import until


class Told:
    """What `on_failure` was called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []
        self.threads: set[int] = set()

    def note(self, job: JobContext, error: JobError) -> None:
        self.calls.append((job.job_id, error.type, error.message))
        self.threads.add(threading.get_ident())

    async def note_in_the_loop(self, job: JobContext, error: JobError) -> None:
        self.note(job, error)


def fails(input: Any) -> None:
    raise JobError("bad", type="BAD", retryable=input == "retryable")


@pytest.mark.parametrize("written", ["async def", "def"])
async def test_a_job_that_has_failed_for_good_is_told_once(world: RunnerStack, written: str) -> None:
    told = Told()
    in_loop = written == "async def"
    world.registry.add("fails", fails, on_failure=told.note_in_the_loop if in_loop else told.note)
    async with world.running():
        permanent = await world.submit("fails", max_attempts=3)
        last = await world.submit("fails", "retryable")
        await until(lambda: len(told.calls) == 2)

    assert sorted(told.calls) == sorted([(job.job.id, "BAD", "bad") for job in (permanent, last)])
    assert (told.threads == {threading.get_ident()}) is in_loop


async def test_a_job_that_succeeds_or_has_attempts_left_is_not_told(world: RunnerStack) -> None:
    told = Told()

    def snoozes(input: Any) -> None:
        raise Snooze(60)

    world.registry.add("fails", fails, on_failure=told.note)
    world.registry.add("succeeds", lambda input: 1, on_failure=told.note)
    world.registry.add("snoozes", snoozes, on_failure=told.note)
    async with world.running():
        await world.submit("fails", "retryable", max_attempts=2)
        await world.submit("succeeds")
        await world.submit("snoozes")
        await world.all_done()

    assert told.calls == []


async def test_a_repeated_report_of_the_failure_tells_once(world: RunnerStack) -> None:
    told = Told()
    world.registry.add("fails", fails, on_failure=told.note)
    world.jobs.completion_replies_to_lose = 2
    async with world.running():
        job = await world.submit("fails")
        await until(lambda: told.calls)
    assert world.jobs.completions[job.job.id] == 3
    assert len(told.calls) == 1


async def test_a_runner_that_stops_waits_for_it(world: RunnerStack) -> None:
    entered, free = asyncio.Event(), asyncio.Event()
    ended = []

    async def takes_long(job: JobContext, error: JobError) -> None:
        entered.set()
        await free.wait()
        ended.append(job.job_id)

    world.registry.add("fails", fails, on_failure=takes_long)
    async with world.running() as runner:
        job = await world.submit("fails")
        await entered.wait()
        runner.stop()
        free.set()
    assert ended == [job.job.id]


async def test_what_it_raises_is_logged_and_harms_nothing(world: RunnerStack) -> None:
    def raises(job: JobContext, error: JobError) -> None:
        raise SystemExit(3)

    world.registry.add("fails", fails, on_failure=raises)
    world.registry.add("succeeds", lambda input: 1)
    with structlog.testing.capture_logs() as lines:
        async with world.running():
            failed = await world.submit("fails")
            await until(lambda: any(line["event"] == "on_failure_failed" for line in lines))
            job = await world.submit("succeeds")
            await world.all_done()

    [line] = [line for line in lines if line["event"] == "on_failure_failed"]
    assert (line["log_level"], line["error_type"]) == ("error", "SystemExit")
    assert failed.error.type == "BAD"
    assert job.output == 1
