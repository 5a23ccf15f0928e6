"""What handlers say during their runs, in a coroutine, a thread and a process, with a real runner program."""

import asyncio
from pathlib import Path

import pytest
import structlog
from google.rpc import code_pb2

from innosystem.runner import CheckpointError, JobContext
from tests.integration.runner.conftest import RunnerStack
from tests.integration.runner.fakes import status
from tests.integration.runner.programs import running_program
from tests.support.until import until

HANDLERS = """
import asyncio, pathlib, time
from innosystem.runner import CheckpointError, handler

def says(input, job):
    job.progress(0, "begins")
    job.checkpoint({"row": 7})
    for percent in range(1, 100_000):
        job.progress(percent / 1000, "counts")
    job.progress(100, "waits")
    while not pathlib.Path(input["go_on"]).exists():
        time.sleep(0.01)
    return job.last_checkpoint

@handler("thread")
def thread(input, job):
    return says(input, job)

@handler("process", process=True)
def process(input, job):
    return says(input, job)

@handler("coroutine")
async def coroutine(input, job):
    job.progress(0, "begins")
    await job.checkpoint({"row": 7})
    for percent in range(1, 100_000):
        job.progress(percent / 1000, "counts")
    job.progress(100, "waits")
    while not pathlib.Path(input["go_on"]).exists():
        await asyncio.sleep(0.01)
    return job.last_checkpoint

@handler("checkpoint-of-thread")
def checkpoint_of_thread(input, job):
    try:
        job.checkpoint({"row": 7})
    except CheckpointError as error:
        return [str(error), error.retryable]

@handler("checkpoint-of-process", process=True)
def checkpoint_of_process(input, job):
    return checkpoint_of_thread(input, job)

@handler("checkpoint-of-coroutine")
async def checkpoint_of_coroutine(input, job):
    try:
        await job.checkpoint({"row": 7})
    except CheckpointError as error:
        return [str(error), error.retryable]
"""

MODES = ["coroutine", "thread", "process"]


@pytest.mark.parametrize("mode", MODES)
async def test_the_last_progress_is_sent_and_few_of_those_before_and_the_checkpoint_is_stored_meanwhile(
    world: RunnerStack, tmp_path: Path, mode: str
) -> None:
    go_on = tmp_path / "go_on"
    async with running_program(world, tmp_path, HANDLERS):
        job = await world.submit(mode, {"go_on": str(go_on)})
        await until(lambda: (100, "waits") in job.progress)
        assert job.checkpoints == ['{"row":7}']
        assert len(job.progress) < 10
        assert [one.sequence for one in job.reports] == [*range(1, len(job.reports) + 1)]
        go_on.touch()
        await until(lambda: job.done)
        assert job.output is None


@pytest.mark.parametrize("mode", MODES)
async def test_the_next_run_gets_the_checkpoint(world: RunnerStack, tmp_path: Path, mode: str) -> None:
    go_on = tmp_path / "go_on"
    async with running_program(world, tmp_path, HANDLERS) as running:
        job = await world.submit(mode, {"go_on": str(go_on)})
        await until(lambda: bool(job.checkpoints))
        running.process.kill()
        await running.ended()
    job.lease_id = ""
    go_on.touch()
    async with running_program(world, tmp_path, HANDLERS):
        await world.push_again(job.job.id)
        await until(lambda: job.done)
    assert job.output == {"row": 7}


@pytest.mark.parametrize("mode", MODES)
async def test_a_checkpoint_that_is_not_stored_raises_in_its_handler(
    world: RunnerStack, tmp_path: Path, mode: str
) -> None:
    world.jobs.takes_progress = False
    async with running_program(world, tmp_path, HANDLERS):
        job = await world.submit(f"checkpoint-of-{mode}")
        await until(lambda: job.done)
    assert job.output == ["Checkpoints are not stored: the jobs service is of an older release", True]


async def test_a_service_of_an_older_release_costs_one_line_of_the_log(world: RunnerStack) -> None:
    world.jobs.takes_progress = False

    async def checkpoint(_: None, job: JobContext) -> bool:
        job.progress(1)
        try:
            await job.checkpoint(1)
        except CheckpointError as error:
            return error.retryable
        return False

    world.registry.add("checkpoint", checkpoint)

    with structlog.testing.capture_logs() as lines:
        async with world.running():
            jobs = [await world.submit("checkpoint") for _ in range(3)]
            await until(lambda: all(job.done for job in jobs))
    events = [line["event"] for line in lines]
    assert (events.count("progress_not_supported"), events.count("service_unavailable")) == (1, 0)
    assert all(job.output for job in jobs)


async def test_what_waits_while_the_service_is_away_is_the_last_progress_and_the_last_checkpoint(
    world: RunnerStack,
) -> None:
    world.jobs.reporting.clear()

    async def says(_: None, job: JobContext) -> None:
        first = job.checkpoint(1)
        await until(lambda: bool(world.jobs.batches["progress"]))
        job.progress(50)
        second = job.checkpoint(2)
        job.progress(60)
        third = job.checkpoint(3)
        world.jobs.reporting.set()
        await asyncio.gather(first, second, third)

    world.registry.add("says", says)

    async with world.running():
        job = await world.submit("says")
        await until(lambda: job.done)
    assert job.checkpoints == ["1", "3"]
    assert job.progress == [(60, "")]


async def test_a_checkpoint_that_a_locked_row_holds_up_is_stored_later(world: RunnerStack) -> None:
    async def checkpoint(_: None, job: JobContext) -> None:
        await job.checkpoint("late")

    world.registry.add("checkpoint", checkpoint)

    job = await world.submit("checkpoint")
    world.jobs.item_errors.append(status(code_pb2.ABORTED, "ROW_LOCKED"))
    async with world.running():
        await until(lambda: job.done)
    assert job.checkpoints == ['"late"']
