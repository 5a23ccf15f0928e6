"""Processes of handlers are replaced after some calls, or when they have grown, and no job notices."""

from pathlib import Path

from tests.integration.runner.conftest import RunnerStack
from tests.integration.runner.programs import gone, running_program
from tests.support.until import until

HANDLERS = """
import os
from innosystem.runner import handler

kept = []

@handler("pid", process=True)
def pid(input):
    kept.append(bytearray(input))
    return os.getpid()
"""


async def pids(world: RunnerStack, jobs: int, size: int = 0) -> list[int]:
    """Return the processes in which some jobs ran, one after the other."""
    found = []
    for _ in range(jobs):
        job = await world.submit("pid", size)
        await world.all_done()
        found.append(job.output)
    return found


async def test_a_process_ends_after_as_many_calls_as_the_setting_says(world: RunnerStack, tmp_path: Path) -> None:
    async with running_program(world, tmp_path, HANDLERS, RUNNER_PROCESS_JOBS_MAX="2") as running:
        first, second, third, fourth, fifth = await pids(world, 5)
        await until(lambda: gone(first) and gone(third))

    assert first == second
    assert third == fourth
    assert len({first, third, fifth}) == 3
    recycled = [line for line in running.lines if line["event"] == "process_recycled"]
    assert [line["calls"] for line in recycled] == [2, 2]


async def test_a_process_that_has_grown_ends(world: RunnerStack, tmp_path: Path) -> None:
    limits = {"RUNNER_PROCESS_MEMORY_MAX_MB": "300"}
    async with running_program(world, tmp_path, HANDLERS, **limits) as running:
        small = await pids(world, 2)
        grown, other = await pids(world, 2, 400 * 1024 * 1024)
        await until(lambda: gone(grown) and gone(other))

    assert small == [grown, grown]
    assert other != grown
    recycled = [line for line in running.lines if line["event"] == "process_recycled"]
    assert [line["memory_mb"] > 300 for line in recycled] == [True, True]


async def test_a_process_is_kept_without_limits(world: RunnerStack, tmp_path: Path) -> None:
    async with running_program(world, tmp_path, HANDLERS):
        assert len(set(await pids(world, 3))) == 1
