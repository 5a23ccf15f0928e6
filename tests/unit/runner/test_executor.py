"""Every handler comes to an outcome within its time."""

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import structlog

from innosystem.client import request_id
from innosystem.jobs.v1 import job_type_pb2
from innosystem.runner import JobContext, Registry, Snooze, processor_types
from innosystem.runner.executor import Executor
from innosystem.runner.outcome import Failed, Outcome, Snoozed, Succeeded
from innosystem.runner.stop_signal import StopReason, StopSignal
from tests.unit.runner.conftest import ClaimedJobs

LIMIT_SECONDS = 10


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
async def executor(registry: Registry) -> AsyncIterator[Executor]:
    made = Executor(registry, threads=2, processes=1)
    yield made
    await made.close()


def failure_of(outcome: Outcome) -> Failed:
    assert isinstance(outcome, Failed)
    return outcome


async def test_a_coroutine_gets_the_input_and_the_job(
    registry: Registry, executor: Executor, claimed: ClaimedJobs
) -> None:
    seen: list[JobContext] = []

    async def double(input: Any, job: JobContext) -> Any:
        seen.append(job)
        return input["n"] * 2

    registry.add("double", double)
    job = claimed("double", input_json='{"n": 9007199254740993}', timeout_seconds=60)

    assert await executor.execute(job) == Succeeded("18014398509481986")
    assert seen[0].job_id == job.job.id
    assert seen[0].labels == {"color": "red"}
    assert seen[0].attempt == 1
    assert seen[0].max_attempts == 3
    assert (seen[0].rescue_count, seen[0].snooze_count) == (2, 4)
    assert not seen[0].stop_requested()
    assert seen[0].deadline is not None


async def test_a_def_runs_in_a_thread(registry: Registry, executor: Executor, claimed: ClaimedJobs) -> None:
    registry.add("where", lambda input: threading.current_thread().name)

    outcome = await executor.execute(claimed("where"))

    assert isinstance(outcome, Succeeded)
    assert "handler" in outcome.output_json


@pytest.mark.parametrize("written", ["async def", "def"])
async def test_the_request_id_travels_into_the_handler_and_its_logs(
    registry: Registry, executor: Executor, claimed: ClaimedJobs, written: str
) -> None:
    def look() -> list[str]:
        bound = structlog.contextvars.get_contextvars()
        return [request_id.get(), bound["request_id"], bound["job_id"]]

    async def in_the_loop(input: Any) -> Any:
        return look()

    registry.add("look", in_the_loop if written == "async def" else lambda input: look())
    job = claimed("look", request_id="abc")

    assert await executor.execute(job) == Succeeded(f'["abc","abc","{job.job.id}"]')
    assert structlog.contextvars.get_contextvars() == {}
    assert request_id.get() == ""


async def test_a_coroutine_is_cancelled_at_its_timeout(
    registry: Registry, executor: Executor, claimed: ClaimedJobs
) -> None:
    cancelled = asyncio.Event()

    async def wait_for_ever(input: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    registry.add("slow", wait_for_ever)
    outcome = failure_of(await executor.execute(claimed("slow", timeout_seconds=0.01)))

    assert cancelled.is_set()
    assert (outcome.type, outcome.retryable) == ("TIMEOUT", True)
    assert outcome.message.endswith("longer than 0.01 s")


async def test_a_coroutine_that_swallows_its_cancellation_has_timed_out_all_the_same(
    registry: Registry, executor: Executor, claimed: ClaimedJobs
) -> None:
    async def stubborn(input: Any) -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "done all the same"

    registry.add("stubborn", stubborn)
    outcome = await executor.execute(claimed("stubborn", timeout_seconds=0.01))

    assert failure_of(outcome).type == "TIMEOUT"


async def test_a_thread_that_takes_too_long_is_reported_when_it_ends(
    registry: Registry, executor: Executor, claimed: ClaimedJobs
) -> None:
    released = threading.Event()
    registry.add("slow", lambda input: released.wait(LIMIT_SECONDS))
    running = asyncio.create_task(executor.execute(claimed("slow", timeout_seconds=0.01)))
    with structlog.testing.capture_logs() as lines:
        async with asyncio.timeout(LIMIT_SECONDS):
            while not lines:  # noqa: ASYNC110 - the log sets no event
                await asyncio.sleep(0)
        assert lines[0]["event"] == "handler_overdue"
        assert not running.done()
        assert executor.tasks_and_threads.has_running
        released.set()

        assert failure_of(await running).type == "TIMEOUT"
    assert not executor.tasks_and_threads.has_running


async def test_a_thread_can_see_that_its_time_is_over(
    registry: Registry, executor: Executor, claimed: ClaimedJobs
) -> None:
    def patient(input: Any, job: JobContext) -> None:
        limit = threading.Event()
        for _ in range(LIMIT_SECONDS * 100):
            if job.stop_requested() or limit.wait(0.01):
                return

    registry.add("patient", patient)
    async with asyncio.timeout(LIMIT_SECONDS / 2):
        outcome = await executor.execute(claimed("patient", timeout_seconds=0.01))

    assert failure_of(outcome).type == "TIMEOUT"


@pytest.mark.parametrize("written", ["async def", "def"])
async def test_a_handler_that_snoozes_asks_to_be_run_again_later(
    registry: Registry, executor: Executor, claimed: ClaimedJobs, written: str
) -> None:
    def blocking(input: Any) -> None:
        raise Snooze(30)

    async def coroutine(input: Any) -> None:
        raise Snooze(30)

    registry.add("snoozes", coroutine if written == "async def" else blocking)

    assert await executor.execute(claimed("snoozes", timeout_seconds=60)) == Snoozed(30)


async def test_an_unwanted_result_is_logged_as_dropped_and_not_as_a_success(
    registry: Registry, executor: Executor, claimed: ClaimedJobs
) -> None:
    stop = StopSignal()
    registry.add("late", lambda input: stop.drop(StopReason.LOST))
    with structlog.testing.capture_logs() as lines:
        await executor.execute(claimed("late"), stop)

    assert [(line["event"], line["reason"]) for line in lines] == [("result_dropped", "lost")]


async def test_a_timeout_error_of_the_handler_is_not_the_timeout_of_the_job(
    registry: Registry, executor: Executor, claimed: ClaimedJobs
) -> None:
    async def calls_somebody_slow(input: Any) -> None:
        raise TimeoutError("the other server is slow")

    registry.add("impatient", calls_somebody_slow)
    outcome = failure_of(await executor.execute(claimed("impatient", timeout_seconds=60)))

    assert (outcome.type, outcome.message) == ("TimeoutError", "the other server is slow")


@pytest.mark.parametrize("written", ["async def", "def"])
@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), ValueError("bad")])
async def test_whatever_a_handler_raises_fails_its_job_only(
    registry: Registry,
    executor: Executor,
    claimed: ClaimedJobs,
    written: str,
    raised: BaseException,
) -> None:
    def blocking(input: Any) -> None:
        raise raised

    async def coroutine(input: Any) -> None:
        raise raised

    registry.add("raises", coroutine if written == "async def" else blocking)

    assert failure_of(await executor.execute(claimed("raises"))).type == type(raised).__name__


async def test_cancelling_the_run_cancels_the_handler(
    registry: Registry, executor: Executor, claimed: ClaimedJobs
) -> None:
    entered = asyncio.Event()

    async def wait_for_ever(input: Any) -> None:
        entered.set()
        await asyncio.Event().wait()

    registry.add("slow", wait_for_ever)
    running = asyncio.create_task(executor.execute(claimed("slow", timeout_seconds=60)))
    await entered.wait()
    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running


def test_a_handler_that_is_not_there_is_refused_by_its_name(
    registry: Registry, executor: Executor, claimed: ClaimedJobs
) -> None:
    registry.add("known", lambda input: None)

    assert executor.refusal(claimed("other")) == "this runner has no handler 'other'"
    assert executor.refusal(claimed("known")) is None


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (job_type_pb2.PROCESSOR_TYPE_UNSPECIFIED, "UNSPECIFIED"),
        (job_type_pb2.PROCESSOR_TYPE_EXTERNAL_API, "EXTERNAL_API"),
        (job_type_pb2.PROCESSOR_TYPE_WEBHOOK, "WEBHOOK"),
        (99, "number 99"),
    ],
)
def test_a_processor_type_that_is_not_run_here_is_refused(
    registry: Registry, executor: Executor, claimed: ClaimedJobs, number: int, name: str
) -> None:
    registry.add("known", lambda input: None)

    refusal = executor.refusal(claimed("known", processor_type=number))
    assert refusal is not None
    assert name in refusal


async def test_how_the_handler_is_written_may_differ_from_the_processor_type(
    registry: Registry, executor: Executor, claimed: ClaimedJobs
) -> None:
    registry.add("either", lambda input: 1)

    for number in (job_type_pb2.PROCESSOR_TYPE_SYNC, job_type_pb2.PROCESSOR_TYPE_ASYNC):
        job = claimed("either", processor_type=number)
        assert await executor.execute(job) == Succeeded("1")


async def test_a_processor_type_that_the_handler_is_not_written_as_is_logged_once_a_minute_per_job_type(
    registry: Registry, executor: Executor, claimed: ClaimedJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def coroutine(input: Any) -> None: ...

    registry.add("def", lambda input: 1)
    registry.add("async def", coroutine)
    jobs = [
        claimed(handler_id, processor_type=number)
        for handler_id in ("def", "async def")
        for number in (job_type_pb2.PROCESSOR_TYPE_SYNC, job_type_pb2.PROCESSOR_TYPE_ASYNC)
        for _ in range(2)
    ]
    for job in jobs[::2]:
        job.processor_type_named = True

    async def mismatches() -> list[tuple[str, str, str]]:
        with structlog.testing.capture_logs() as lines:
            for job in jobs:
                await executor.execute(job)
        logged = [line for line in lines if line["event"] == "processor_type_mismatch"]
        return [(line["processor_type"], line["handler_is"], line["job_type_id"]) for line in logged]

    expected = [("ASYNC", "def", jobs[2].job.job_type_id), ("SYNC", "async def", jobs[4].job.job_type_id)]
    assert await mismatches() == expected
    assert await mismatches() == []
    monkeypatch.setattr(processor_types, "_EVERY_SECONDS", 0.0)
    assert await mismatches() == expected


async def test_what_a_blocked_loop_returns_after_its_timeout_has_succeeded_and_is_logged(
    registry: Registry, executor: Executor, claimed: ClaimedJobs
) -> None:
    async def blocks(input: Any) -> str:
        time.sleep(0.2)  # noqa: ASYNC251 - the subject of this test
        return "late"

    registry.add("blocks", blocks)
    with structlog.testing.capture_logs() as lines:
        assert await executor.execute(claimed("blocks", timeout_seconds=0.05)) == Succeeded('"late"')

    [line] = [line for line in lines if line["event"] == "timeout_not_enforced"]
    assert line["timeout_seconds"] == 0.05
    assert line["seconds"] >= 0.2


async def test_an_input_that_is_not_json_fails_the_job(
    registry: Registry, executor: Executor, claimed: ClaimedJobs
) -> None:
    registry.add("known", lambda input: sys.exit("not reached"))
    outcome = failure_of(await executor.execute(claimed("known", input_json="{")))

    assert outcome.type == "INVALID_INPUT_JSON"


async def test_a_handler_that_cancels_its_own_task_fails_its_job(
    registry: Registry, executor: Executor, claimed: ClaimedJobs
) -> None:
    async def cancels_itself(input: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(LIMIT_SECONDS)

    registry.add("cancels-itself", cancels_itself)
    outcome = failure_of(await executor.execute(claimed("cancels-itself", timeout_seconds=60)))

    assert (outcome.type, outcome.retryable) == ("CancelledError", True)


async def test_a_coroutine_that_swallows_three_cancellations_ends_by_the_fourth(
    registry: Registry, claimed: ClaimedJobs
) -> None:
    swallowed: list[int] = []

    async def stubborn(input: Any) -> None:
        while len(swallowed) < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.append(1)
        await asyncio.Event().wait()

    registry.add("stubborn", stubborn)
    executor = Executor(registry, threads=1, processes=1, stop_seconds=1.0)
    async with asyncio.timeout(LIMIT_SECONDS):
        outcome = failure_of(await executor.execute(claimed("stubborn", timeout_seconds=0.01)))

    assert outcome.type == "TIMEOUT"
    assert len(swallowed) == 3
    assert not executor.tasks_and_threads.has_running


async def test_a_coroutine_that_never_stops_is_reported_and_left_behind_with_its_stack_in_the_log(
    registry: Registry, claimed: ClaimedJobs
) -> None:
    go_on = asyncio.Event()
    stuck: list[int] = []

    async def sleeps_on() -> None:
        while not go_on.is_set():
            with suppress(asyncio.CancelledError):
                await go_on.wait()

    async def stubborn(input: Any) -> None:
        await sleeps_on()

    registry.add("stubborn", stubborn)
    executor = Executor(registry, threads=1, processes=1, stop_seconds=0.05)
    executor.tasks_and_threads.stuck_changed = stuck.append
    with structlog.testing.capture_logs() as lines:
        outcome = failure_of(await executor.execute(claimed("stubborn", timeout_seconds=0.01)))

    assert outcome.type == "TIMEOUT"
    [line] = [line for line in lines if line["event"] == "handler_stuck"]
    assert "in sleeps_on" in line["stack"]
    assert "in stubborn" in line["stack"]
    assert stuck == [1]
    go_on.set()
    async with asyncio.timeout(LIMIT_SECONDS):
        while executor.tasks_and_threads.has_running:  # noqa: ASYNC110 - the handler sets no event after its end
            await asyncio.sleep(0)
    assert stuck == [1, 0]


async def test_a_thread_that_never_stops_is_reported_and_left_behind_with_its_stack_in_the_log(
    registry: Registry, claimed: ClaimedJobs
) -> None:
    go_on = threading.Event()
    stuck: list[int] = []

    def hangs_in_here(input: Any) -> None:
        go_on.wait(LIMIT_SECONDS * 6)

    registry.add("hangs", hangs_in_here)
    executor = Executor(registry, threads=1, processes=1, stop_seconds=0.05)
    executor.tasks_and_threads.stuck_changed = stuck.append
    with structlog.testing.capture_logs() as lines:
        async with asyncio.timeout(LIMIT_SECONDS):
            outcome = failure_of(await executor.execute(claimed("hangs", timeout_seconds=0.01)))

    assert outcome.type == "TIMEOUT"
    [line] = [line for line in lines if line["event"] == "handler_stuck"]
    assert "in hangs_in_here" in line["stack"]
    assert stuck == [1]
    go_on.set()
