"""A runner calls handlers of batches with more jobs than it has slots, and each job ends on its own."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from innosystem.jobs.v1 import job_type_pb2
from innosystem.runner import Batch, BatchItem
from tests.integration.runner.conftest import RunnerStack
from tests.integration.runner.programs import gone, running_program
from tests.support.until import until

BATCH = job_type_pb2.PROCESSOR_TYPE_BATCH

HANDLERS = """
import os, pathlib, time
from innosystem.runner import Batch, BatchItem, handler

@handler("pids", batch=Batch(size=3, wait_seconds=60), process=True)
def pids(items):
    if any(item.input == "die" for item in items):
        os._exit(7)
    return [[os.getpid(), len(items)] for _ in items]

@handler("in-the-loop", batch=Batch(size=2, wait_seconds=60))
async def in_the_loop(items):
    return [[os.getpid(), len(items)] for _ in items]

@handler("sleeps", batch=Batch(size=2, wait_seconds=60), process=True)
def sleeps(items):
    pathlib.Path(items[0].input).write_text(str(os.getpid()))
    time.sleep(600)
"""


async def test_a_batch_has_more_jobs_than_the_runner_has_slots(world: RunnerStack) -> None:
    sizes: list[int] = []

    async def embed(items: list[BatchItem[int]]) -> list[int]:
        sizes.append(len(items))
        return [item.input * 2 for item in items]

    world.registry.add("embed", embed, batch=Batch(size=100, wait_seconds=60))
    jobs = [await world.submit("embed", n, processor_type=BATCH) for n in range(100)]
    async with world.running(runner_concurrency=32):
        await world.all_done()

    assert sizes == [100]
    assert [job.output for job in jobs] == [2 * n for n in range(100)]
    assert len(world.wallets.charged) == 100


async def test_other_jobs_run_while_a_batch_waits(world: RunnerStack) -> None:
    async def embed(items: list[BatchItem[int]]) -> list[int]:
        return [len(items) for _ in items]

    async def other(input: Any) -> str:
        return "done"

    world.registry.add("embed", embed, batch=Batch(size=4, wait_seconds=60))
    world.registry.add("other", other)
    async with world.running(runner_concurrency=2):
        waiting = [await world.submit("embed", n) for n in range(3)]
        job = await world.submit("other")
        await until(lambda: job.done)
        assert not any(each.done for each in waiting)
        await world.submit("embed", 3)
        await world.all_done()

    assert [each.output for each in waiting] == [4, 4, 4]


async def test_a_runner_that_stops_calls_the_handler_of_a_batch_that_waits(world: RunnerStack) -> None:
    async def embed(items: list[BatchItem[int]]) -> list[int]:
        return [len(items) for _ in items]

    world.registry.add("embed", embed, batch=Batch(size=100, wait_seconds=60))
    async with world.running():
        jobs = [await world.submit("embed", n) for n in range(3)]
        await until(lambda: all(job.lease_id for job in jobs))

    assert [job.output for job in jobs] == [3, 3, 3]


async def test_a_cancelled_job_leaves_its_batch_and_the_others_succeed(world: RunnerStack) -> None:
    entered, free = asyncio.Event(), asyncio.Event()

    async def embed(items: list[BatchItem[int]]) -> list[int]:
        entered.set()
        await free.wait()
        return [item.input for item in items]

    world.registry.add("embed", embed, batch=Batch(size=2, wait_seconds=60))
    async with world.running(runner_lease_seconds=1.0) as runner:
        cancelled, other = [await world.submit("embed", n) for n in range(2)]
        await entered.wait()
        cancelled.cancel()
        await until(lambda: all(job.job_id != cancelled.job.id for job in runner._in_hand.jobs))
        free.set()
        await until(lambda: other.done)

    assert other.output == 1
    assert cancelled.completion is None


async def test_a_batch_in_a_process_that_dies_makes_each_of_its_jobs_repeatable(
    world: RunnerStack, tmp_path: Path
) -> None:
    async with running_program(world, tmp_path, HANDLERS) as running:
        good = [await world.submit("pids", n) for n in range(3)]
        await world.all_done()
        bad = [await world.submit("pids", input) for input in ("die", 1, 2)]
        await world.all_done()
        os.kill(running.process.pid, signal.SIGTERM)
        assert await running.ended() == 0

    [(pid, size)] = {tuple(job.output) for job in good}
    assert (pid != running.process.pid, size) == (True, 3)
    assert {(job.error.type, job.error.retryable) for job in bad} == {("PROCESS_DIED", True)}


async def test_suspects_are_called_alone_each_in_a_process(world: RunnerStack, tmp_path: Path) -> None:
    async with running_program(world, tmp_path, HANDLERS) as running:
        jobs = []
        for handler in ("pids", "in-the-loop"):
            for n in range(2):
                jobs.append(await world.submit(handler, n, isolated=True))
                await world.all_done()

    assert all(size == 1 and pid != running.process.pid for pid, size in (job.output for job in jobs))


async def test_the_process_of_a_batch_is_killed_at_the_timeout(world: RunnerStack, tmp_path: Path) -> None:
    entered = tmp_path / "entered"
    async with running_program(world, tmp_path, HANDLERS):
        jobs = [await world.submit("sleeps", str(entered), timeout_seconds=1.0 + 60 * n) for n in range(2)]
        await world.all_done()

    assert {job.error.type for job in jobs} == {"TIMEOUT"}
    pid = int(entered.read_text())
    await until(lambda: gone(pid))
