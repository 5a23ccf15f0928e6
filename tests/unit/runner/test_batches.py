"""Jobs are called together up to the limits of their handler, and each has an outcome of its own."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from innosystem.jobs.v1 import job_type_pb2
from innosystem.runner import Batch, BatchItem, HandlerRegistrationError, JobError, Registry, Snooze
from innosystem.runner.executor import Executor
from innosystem.runner.outcome import Failed, Outcome, Snoozed, Succeeded
from innosystem.runner.registry import describe
from innosystem.runner.stop_signal import StopReason, StopSignal
from tests.unit.runner.conftest import ClaimedJobs

LONG_SECONDS = 30.0


@dataclass
class Text:
    text: str


class Jobs:
    """Runs jobs of one handler."""

    def __init__(self, claimed: ClaimedJobs) -> None:
        self._claimed = claimed
        self.registry = Registry()
        self.executor = Executor(self.registry, threads=2, processes=1, stop_seconds=0.5)

    def start(
        self,
        input: Any = None,
        *,
        customer_id: str = "",
        timeout_seconds: float = 0,
        stop: StopSignal | None = None,
        isolated: bool = False,
    ) -> "asyncio.Task[Outcome]":
        job = self._claimed("job", input_json=json.dumps(input), timeout_seconds=timeout_seconds)
        job.isolated = isolated
        if customer_id:
            job.job.customer_id = customer_id
        return asyncio.create_task(self.executor.execute(job, stop))

    async def outcomes(self, *inputs: Any) -> list[Outcome]:
        async with asyncio.timeout(10):
            return await asyncio.gather(*(self.start(each) for each in inputs))


@pytest.fixture
async def jobs(claimed: ClaimedJobs) -> AsyncIterator[Jobs]:
    made = Jobs(claimed)
    yield made
    await made.executor.close()


class Handler:
    """Notes the inputs of each call, and returns them or what `returns` makes of them."""

    def __init__(self, returns: Callable[[list[Any]], Any] = lambda inputs: inputs) -> None:
        self.calls: list[list[Any]] = []
        self.called = asyncio.Event()
        self._returns = returns

    async def __call__(self, items: list[BatchItem[Any]]) -> Any:
        inputs = [item.input for item in items]
        self.calls.append(inputs)
        self.called.set()
        return self._returns(inputs)

    def add(self, jobs: Jobs, **limits: Any) -> None:
        async def function(items: list[BatchItem[Any]]) -> Any:
            return await self(items)

        jobs.registry.add("job", function, batch=Batch(**{"wait_seconds": LONG_SECONDS, **limits}))


async def test_jobs_are_called_together_when_there_are_enough(jobs: Jobs) -> None:
    handler = Handler()
    handler.add(jobs, size=3)

    assert await jobs.outcomes(0, 1, 2, 3, 4, 5) == [Succeeded(str(n)) for n in range(6)]
    assert handler.calls == [[0, 1, 2], [3, 4, 5]]


async def test_jobs_are_called_when_the_first_has_waited_long_enough(jobs: Jobs) -> None:
    handler = Handler()
    handler.add(jobs, size=3, wait_seconds=0.05)

    assert await jobs.outcomes(0, 1) == [Succeeded("0"), Succeeded("1")]
    assert handler.calls == [[0, 1]]


async def test_inputs_of_a_call_have_at_most_the_bytes_of_the_limit(jobs: Jobs) -> None:
    handler = Handler()
    handler.add(jobs, bytes=10, wait_seconds=0.05)

    await jobs.outcomes("1234", "5678", "12345678", "1234567890", "é")
    assert handler.calls == [["1234"], ["5678"], ["12345678"], ["1234567890"], ["é"]]


async def test_jobs_of_customers_are_mixed_unless_the_handler_forbids_it(jobs: Jobs) -> None:
    handler = Handler()
    handler.add(jobs, size=2, per_customer=True)
    running = [jobs.start(n, customer_id="ab"[n % 2]) for n in range(4)]

    assert await asyncio.gather(*running) == [Succeeded(str(n)) for n in range(4)]
    assert handler.calls == [[0, 2], [1, 3]]


async def test_an_input_that_does_not_fit_fails_its_own_job_only(jobs: Jobs) -> None:
    calls = []

    async def function(items: list[BatchItem[Text]]) -> list[str]:
        calls.append(len(items))
        return [item.input.text for item in items]

    jobs.registry.add("job", function, batch=Batch(size=3, wait_seconds=LONG_SECONDS))
    good, bad, last = await jobs.outcomes({"text": "a"}, {"text": 1}, {"text": "c"})

    assert (good, last) == (Succeeded('"a"'), Succeeded('"c"'))
    assert isinstance(bad, Failed)
    assert (bad.type, bad.retryable) == ("INVALID_INPUT", False)
    assert calls == [2]


async def test_a_handler_is_not_called_without_an_input_that_fits(jobs: Jobs) -> None:
    async def function(items: list[BatchItem[Text]]) -> list[str]:
        raise AssertionError("not reached")

    jobs.registry.add("job", function, batch=Batch(size=1))
    [outcome] = await jobs.outcomes(1)
    assert isinstance(outcome, Failed)
    assert outcome.type == "INVALID_INPUT"


async def test_each_item_has_a_result_or_an_error_of_its_own(jobs: Jobs) -> None:
    results = [1, JobError("no", type="NO", retryable=False), Snooze(5), {1, 2}, ValueError("bad")]
    Handler(lambda _: results).add(jobs, size=5)

    first, error, snoozed, no_json, raised = await jobs.outcomes(*range(5))

    assert (first, snoozed) == (Succeeded("1"), Snoozed(5))
    kinds = [(each.type, each.retryable) for each in (error, no_json, raised) if isinstance(each, Failed)]
    assert kinds == [("NO", False), ("INVALID_OUTPUT_JSON", False), ("ValueError", True)]


async def test_a_result_that_does_not_fit_the_annotation_fails_its_own_job_only(jobs: Jobs) -> None:
    async def function(items: list[BatchItem[Any]]) -> list[Text | JobError]:
        return [item.input if item.input == 1 else Text("a") for item in items]

    jobs.registry.add("job", function, batch=Batch(size=2))
    misfit, fitting = await jobs.outcomes(1, 2)

    assert isinstance(misfit, Failed)
    assert misfit.type == "INVALID_OUTPUT"
    assert fitting == Succeeded('{"text":"a"}')


@pytest.mark.parametrize(
    "error", [JobError("no", type="NO"), SystemExit(3), Snooze(5)], ids=["error", "exit", "snooze"]
)
@pytest.mark.parametrize("written", ["async def", "def"])
async def test_what_a_handler_raises_is_the_outcome_of_each_job(jobs: Jobs, error: BaseException, written: str) -> None:
    def function(items: list[BatchItem[Any]]) -> list[Any]:
        raise error

    async def coroutine(items: list[BatchItem[Any]]) -> list[Any]:
        raise error

    jobs.registry.add("job", coroutine if written == "async def" else function, batch=Batch(size=2))
    first, second = await jobs.outcomes(1, 2)
    assert first == second
    assert isinstance(first, Snoozed if isinstance(error, Snooze) else Failed)


@pytest.mark.parametrize(
    ("returned", "what"),
    [([1], "1 results for 2 items"), (None, "NoneType instead of a list"), ("ab", "str instead of a list")],
)
async def test_a_list_of_the_wrong_length_fails_each_job_with_the_reason(jobs: Jobs, returned: Any, what: str) -> None:
    Handler(lambda _: returned).add(jobs, size=2)

    for outcome in await jobs.outcomes(1, 2):
        assert isinstance(outcome, Failed)
        assert (outcome.type, outcome.retryable) == ("INVALID_OUTPUT", False)
        assert what in outcome.message


async def test_a_def_is_called_in_a_thread(jobs: Jobs) -> None:
    def function(items: list[BatchItem[Any]]) -> list[str]:
        return [threading.current_thread().name for _ in items]

    jobs.registry.add("job", function, batch=Batch(size=2))
    for outcome in await jobs.outcomes(1, 2):
        assert isinstance(outcome, Succeeded)
        assert "handler" in outcome.output_json


async def test_the_earliest_timeout_is_that_of_the_call(jobs: Jobs) -> None:
    deadlines: list[Any] = []

    async def function(items: list[BatchItem[Any]]) -> list[Any]:
        deadlines.extend(item.job.deadline for item in items)
        await asyncio.Event().wait()
        return []

    jobs.registry.add("job", function, batch=Batch(size=2))
    running = [jobs.start(1, timeout_seconds=0.05), jobs.start(2, timeout_seconds=LONG_SECONDS)]
    for outcome in await asyncio.gather(*running):
        assert isinstance(outcome, Failed)
        assert outcome.type == "TIMEOUT"
        assert outcome.message.endswith("longer than 0.05 s")
    assert len(set(deadlines)) == 1


async def test_a_job_that_is_cancelled_while_it_waits_is_not_called(jobs: Jobs) -> None:
    handler = Handler()
    handler.add(jobs, size=3)
    first, second = jobs.start(1), jobs.start(2)
    await asyncio.sleep(0)
    first.cancel()
    rest = [jobs.start(3), jobs.start(4)]

    assert await asyncio.gather(second, *rest) == [Succeeded("2"), Succeeded("3"), Succeeded("4")]
    assert handler.calls == [[2, 3, 4]]
    assert first.cancelled()


async def test_a_job_that_is_cancelled_during_the_call_leaves_the_others_in_it(jobs: Jobs) -> None:
    entered, free = asyncio.Event(), asyncio.Event()
    stops: list[bool] = []

    async def function(items: list[BatchItem[int]]) -> list[int]:
        entered.set()
        await free.wait()
        stops.extend(item.job.stop_requested() for item in items)
        return [item.input for item in items]

    jobs.registry.add("job", function, batch=Batch(size=2))
    stop = StopSignal()
    cancelled, other = jobs.start(1, stop=stop), jobs.start(2)
    await entered.wait()
    stop.drop(StopReason.CANCELLED)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    free.set()

    assert await other == Succeeded("2")
    assert stops == [True, False]
    assert jobs.executor.backpressure.without_slot == 0


async def test_the_call_is_cancelled_when_all_of_its_jobs_are(jobs: Jobs) -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    async def function(items: list[BatchItem[int]]) -> list[int]:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        return []

    jobs.registry.add("job", function, batch=Batch(size=2))
    running = [jobs.start(1), jobs.start(2)]
    await entered.wait()
    for each in running:
        each.cancel()
    await asyncio.wait(running)

    assert left.is_set()
    assert not jobs.executor.has_running
    assert jobs.executor.backpressure.without_slot == 0


async def test_a_handler_that_cancels_its_own_task_fails_its_jobs(jobs: Jobs) -> None:
    async def function(items: list[BatchItem[int]]) -> list[int]:
        for task in asyncio.all_tasks():
            if task.get_name().startswith(("handler", "batch")):
                task.cancel()
        await asyncio.Event().wait()
        return []

    jobs.registry.add("job", function, batch=Batch(size=2))
    running = [jobs.start(1), jobs.start(2)]
    _, pending = await asyncio.wait(running, timeout=10)
    assert not pending


async def test_jobs_of_a_batch_share_a_slot(jobs: Jobs) -> None:
    entered, free = asyncio.Event(), asyncio.Event()

    async def function(items: list[BatchItem[int]]) -> list[int]:
        entered.set()
        await free.wait()
        return [item.input for item in items]

    jobs.registry.add("job", function, batch=Batch(size=3))
    running = [jobs.start(n) for n in range(3)]
    await entered.wait()
    assert jobs.executor.backpressure.without_slot == 2
    free.set()
    await asyncio.gather(*running)
    assert jobs.executor.backpressure.without_slot == 0


async def test_a_runner_that_stops_calls_what_waits_and_then_each_job_without_waiting(jobs: Jobs) -> None:
    handler = Handler()
    handler.add(jobs, size=3)
    waiting = [jobs.start(1), jobs.start(2)]
    await asyncio.sleep(0)
    jobs.executor.hurry()
    assert await asyncio.gather(*waiting) == [Succeeded("1"), Succeeded("2")]
    assert await jobs.outcomes(3, 4) == [Succeeded("3"), Succeeded("4")]
    assert handler.calls == [[1, 2], [3, 4]]


async def test_a_suspect_is_called_alone(jobs: Jobs) -> None:
    handler = Handler()
    handler.add(jobs, size=2)
    suspect = jobs.start(1, isolated=True)
    others = [jobs.start(2), jobs.start(3)]
    await asyncio.gather(suspect, *others)
    assert sorted(handler.calls) == [[1], [2, 3]]


async def test_a_job_type_that_names_batch_runs_here(jobs: Jobs, claimed: ClaimedJobs) -> None:
    Handler().add(jobs, size=1)
    job = claimed("job", input_json="1", processor_type=job_type_pb2.PROCESSOR_TYPE_BATCH)
    job.isolated = False
    assert jobs.executor.refusal(job) is None
    assert await jobs.executor.execute(job) == Succeeded("1")


@pytest.mark.parametrize("limits", [{"size": 0}, {"size": 1001}, {"wait_seconds": 61}, {"bytes": 0}], ids=str)
def test_a_limit_out_of_its_range_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(HandlerRegistrationError):
        Batch(**limits)


def takes_no_items(items: list[int]) -> list[int]:
    return items


def returns_no_list(items: list[BatchItem[int]]) -> dict[str, int]:
    return {}


def takes_nothing() -> list[int]:
    return []


def yields(items: list[BatchItem[int]]) -> Iterator[int]:
    yield 1


@pytest.mark.parametrize("function", [takes_no_items, returns_no_list, yields, takes_nothing])
def test_a_function_that_takes_no_items_or_returns_no_list_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(HandlerRegistrationError, match=r"takes batches|must take \(items\)"):
        describe(function, handler_id="x", batch=Batch())
