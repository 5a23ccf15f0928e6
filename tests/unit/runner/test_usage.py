"""What a run reports to have used adds up, and goes with its success."""

import asyncio
import pickle
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from innosystem.runner import JobContext, Registry
from innosystem.runner.completing import completion_of
from innosystem.runner.executor import Executor
from innosystem.runner.in_hand import JobInHand
from innosystem.runner.outcome import Failed, Outcome, Succeeded
from innosystem.runner.queue import PoppedId
from innosystem.runner.usage_meter import UsageMeter
from tests.unit.runner.conftest import ClaimedJobs


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
async def executor(registry: Registry) -> AsyncIterator[Executor]:
    made = Executor(registry, threads=2, processes=1)
    yield made
    await made.close()


def test_reports_add_up_from_many_threads() -> None:
    meter = UsageMeter()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(meter.add, [1] * 4_000))
    assert meter.units == 4_000


def test_without_a_report_there_is_no_usage_and_a_report_of_none_is_one() -> None:
    meter = UsageMeter()
    assert meter.units is None
    meter.add(0)
    assert meter.units == 0


@pytest.mark.parametrize(
    ("units", "error"), [(-1, ValueError), (2**63, ValueError), (1.5, TypeError), (True, TypeError), ("1", TypeError)]
)
def test_what_is_no_number_of_units_is_refused_and_not_counted(units: Any, error: type[Exception]) -> None:
    meter = UsageMeter()
    meter.add(3)
    with pytest.raises(error):
        meter.add(units)
    assert meter.units == 3


def test_the_sum_can_not_pass_what_the_platform_stores() -> None:
    meter = UsageMeter()
    meter.add(2**63 - 1)
    with pytest.raises(ValueError, match="too much"):
        meter.add(1)


def test_a_meter_that_is_sent_to_a_process_begins_at_nothing() -> None:
    meter = UsageMeter()
    meter.add(3)
    assert pickle.loads(pickle.dumps(meter)).units is None


async def run(registry: Registry, executor: Executor, claimed: ClaimedJobs, function: Any) -> Outcome:
    registry.add("meters", function)
    return await executor.execute(claimed("meters", input_json="[2, 3]", timeout_seconds=60))


async def test_a_coroutine_reports_its_usage(registry: Registry, executor: Executor, claimed: ClaimedJobs) -> None:
    async def meters(input: list[int], job: JobContext) -> str:
        for units in input:
            await asyncio.sleep(0)
            job.usage(units)
        return "done"

    assert await run(registry, executor, claimed, meters) == Succeeded('"done"', usage_units=5)


async def test_a_thread_reports_its_usage(registry: Registry, executor: Executor, claimed: ClaimedJobs) -> None:
    def meters(input: list[int], job: JobContext) -> str:
        for units in input:
            job.usage(units)
        return "done"

    assert await run(registry, executor, claimed, meters) == Succeeded('"done"', usage_units=5)
    # The next run of the same handler begins at nothing.
    assert await executor.execute(claimed("meters", input_json="[]", timeout_seconds=60)) == Succeeded('"done"')


async def test_a_run_that_fails_has_no_usage(registry: Registry, executor: Executor, claimed: ClaimedJobs) -> None:
    def meters(input: list[int], job: JobContext) -> None:
        job.usage(3)
        raise ValueError("no")

    assert isinstance(await run(registry, executor, claimed, meters), Failed)


@pytest.mark.parametrize("units", [None, 0, 5])
def test_a_completion_has_the_usage_if_there_is_one(units: int | None) -> None:
    job = JobInHand(PoppedId("job", "jobs:p1:pending"), lease_id="lease")
    completion = completion_of(job, Succeeded("1", usage_units=units))
    assert (completion.usage_units if completion.HasField("usage_units") else None) == units
