"""The real program with handlers that block it, signals that freeze it, and crashes at chosen lines."""

import json
import os
import signal
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.integration.runner.conftest import RunnerStack
from tests.integration.runner.fakes import StoredJob
from tests.integration.runner.programs import gone
from tests.integration.runner.test_runner_process import program
from tests.support.until import until

DEAF = """
import asyncio
from innosystem.runner.queue import JobQueue

async def pop(self, room):
    await asyncio.Event().wait()

JobQueue.pop = pop
"""


def longest_gap(job: StoredJob, *, since: float, until_: float) -> float:
    times = [since, *[each for each in job.renewed_at if since < each < until_], until_]
    return max(after - before for before, after in pairwise(times))


async def test_leases_are_renewed_while_a_coroutine_keeps_the_event_loop_busy(
    world: RunnerStack, tmp_path: Path
) -> None:
    entered = tmp_path / "entered"
    async with program(world, tmp_path, RUNNER_LEASE_SECONDS="1.5") as running:
        job = await world.submit("blocks-the-loop", {"entered": str(entered), "seconds": 4})
        await until(entered.exists)
        began = time.monotonic()
        await world.all_done()
        assert longest_gap(job, since=began, until_=began + 3.5) < 1.5
        running.process.terminate()
        assert await running.ended() == 0

    assert job.output == "done"
    assert len(world.wallets.charged) == 1


async def test_leases_outlast_a_handler_that_lets_nothing_else_run_for_seconds(
    world: RunnerStack, tmp_path: Path
) -> None:
    entered = tmp_path / "entered"
    async with program(world, tmp_path, RUNNER_LEASE_SECONDS="6") as running:
        job = await world.submit("holds-the-lock", {"entered": str(entered), "seconds": 3})
        await until(entered.exists)
        began = time.monotonic()
        await world.all_done()
        ended = time.monotonic()
        assert ended - began > 2.5
        assert longest_gap(job, since=began, until_=ended) < 6
        running.process.terminate()
        assert await running.ended() == 0

    assert job.output == "done"


async def test_a_runner_that_was_frozen_stops_jobs_that_were_given_to_others_and_continues(
    world: RunnerStack, tmp_path: Path
) -> None:
    entered = tmp_path / "entered"
    async with program(world, tmp_path, RUNNER_LEASE_SECONDS="1", RUNNER_WATCHDOG_SECONDS="2") as running:
        job = await world.submit("wait", {"entered": str(entered), "go_on": str(tmp_path / "never")})
        await until(entered.exists)
        running.process.send_signal(signal.SIGSTOP)
        frozen_at = time.monotonic()
        # Longer than the limit of the watchdog, and than the lease.
        await until(lambda: time.monotonic() - frozen_at > 3)
        job.lose()
        running.process.send_signal(signal.SIGCONT)
        await until(lambda: running.logged("lease_lost"))
        other = await world.submit("log")
        await until(lambda: other.done)
        running.process.terminate()
        assert await running.ended() == 0

    assert world.jobs.completions[job.job.id] == 0
    assert not running.logged("runner_broken")


@pytest.mark.parametrize("how", ["cancelled", "lost"])
async def test_a_handler_in_a_process_is_killed_when_its_job_is_not_the_runners_any_more(
    world: RunnerStack, tmp_path: Path, how: str
) -> None:
    entered = tmp_path / "entered"
    async with program(world, tmp_path, RUNNER_LEASE_SECONDS="1") as running:
        job = await world.submit("hang", {"entered": str(entered)})
        await until(lambda: entered.exists() and entered.read_text() != "")
        # The job waits for the only process, and is stopped there.
        waiting = await world.submit("hang", {"entered": str(tmp_path / "not entered")})
        await until(lambda: bool(waiting.renewed_at))
        for each in (waiting, job):
            each.cancel() if how == "cancelled" else each.lose()
        await until(lambda: gone(int(entered.read_text())))
        other = await world.submit("log-in-process")
        await until(lambda: other.done)
        running.process.terminate()
        assert await running.ended() == 0

    assert world.jobs.completions.keys() == {other.job.id}
    assert not (tmp_path / "not entered").exists()


async def test_a_handler_in_a_process_is_killed_and_its_job_returned_when_the_runner_stops(
    world: RunnerStack, tmp_path: Path
) -> None:
    entered = tmp_path / "entered"
    async with program(world, tmp_path, RUNNER_DRAIN_SECONDS="0.2", RUNNER_PROCESSES="3") as running:
        jobs = [await world.submit("hang", {"entered": str(entered)}) for _ in range(3)]
        await until(lambda: entered.exists() and entered.read_text() != "" and all(job.lease_id for job in jobs))
        running.process.terminate()
        assert await running.ended() == 0
        await until(lambda: gone(int(entered.read_text())))

    assert {(job.returned_because, job.job.attempt) for job in jobs} == {("runner stopping", 0)}


async def test_a_coroutine_that_will_not_be_cancelled_does_not_keep_the_program(
    world: RunnerStack, tmp_path: Path
) -> None:
    entered = tmp_path / "entered"
    async with program(world, tmp_path, RUNNER_DRAIN_SECONDS="0.2") as running:
        job = await world.submit("will-not-be-cancelled", {"entered": str(entered)})
        await until(entered.exists)
        running.process.terminate()
        assert await running.ended() == 0

    assert job.returned_because == "runner stopping"
    assert running.logged("handlers_abandoned")


CRASHES: dict[str, Any] = {
    "runner.before_claim": (0, 0, 0, 0),
    "runner.running": (1, 0, 0, 0),
    "runner.before_complete": (1, 0, 0, 0),
    "runner.before_charge": (1, 1, 0, 0),
    "runner.before_settle": (1, 1, 1, 0),
}


@pytest.mark.parametrize("point", CRASHES)
async def test_a_runner_dies_at_the_very_line_that_is_armed(world: RunnerStack, tmp_path: Path, point: str) -> None:
    async with program(world, tmp_path, INNOSYSTEM_CRASH_AT=point) as running:
        job = await world.submit("log")
        assert await running.ended() == -signal.SIGKILL

    reached = (
        world.jobs.batches["claim"],
        world.jobs.batches["complete"],
        world.wallets.batches,
        world.jobs.batches["settle"],
    )
    assert reached == CRASHES[point]
    called = any(json.loads(line)["event"] == "in a thread" for line in running.text if line.startswith("{"))
    assert called is (point not in ("runner.before_claim", "runner.running"))
    assert bool(job.lease_id) is (point != "runner.before_claim")


async def test_a_runner_that_does_not_poll_logs_it_and_ends_with_1(world: RunnerStack, tmp_path: Path) -> None:
    (tmp_path / "deaf.py").write_text(DEAF)
    async with program(world, tmp_path, "deaf", RUNNER_WATCHDOG_SECONDS="2") as running:
        assert await running.ended() == 1

    broken = [line for line in running.lines if line["event"] == "runner_broken"]
    assert (broken[0]["part"], broken[0]["level"]) == ("watchdog", "critical")


async def test_a_runner_without_redis_counts_as_polling_and_touches_its_health_file(
    world: RunnerStack, tmp_path: Path
) -> None:
    health_file = tmp_path / "polled"
    async with program(
        world,
        tmp_path,
        REDIS_URL="redis://127.0.0.1:1",
        RUNNER_WATCHDOG_SECONDS="4",
        RUNNER_HEALTH_FILE=str(health_file),
    ) as running:
        await until(lambda: running.logged("redis_unavailable"))
        os.utime(health_file, (1, 1))
        began = time.monotonic()
        await until(lambda: health_file.stat().st_mtime != 1)
        await until(lambda: time.monotonic() - began > 5)
        running.process.terminate()
        assert await running.ended() == 0

    assert not running.logged("runner_broken")


async def test_a_health_file_that_cannot_be_written_is_reported_at_the_start(
    world: RunnerStack, tmp_path: Path
) -> None:
    async with program(world, tmp_path, RUNNER_HEALTH_FILE=str(tmp_path / "no folder" / "polled")) as running:
        assert await running.ended() == 2
