"""Middleware is called around each run, and sees and decides how it ended."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from innosystem.runner import HandlerRegistrationError, JobContext, JobError, Outcome, Registry, Snooze
from innosystem.runner.around_runs import Chain
from innosystem.runner.executor import Executor
from innosystem.runner.outcome import AwaitingCallback, Failed, Snoozed, Succeeded
from innosystem.runner.process_slots import NotStarted
from tests.unit.runner.conftest import ClaimedJobs

Next = Callable[[], Awaitable[Outcome]]
Layer = Callable[..., Awaitable[Any]]


class Database: ...


class Runs:
    """Runs one handler inside of middleware."""

    def __init__(self, claimed: ClaimedJobs) -> None:
        self.claimed = claimed
        self.opened: list[Executor] = []

    async def outcome(self, handler: Callable[..., Any], *layers: Layer, timeout_seconds: float = 0) -> Outcome:
        registry = Registry()
        registry.add("job", handler)
        for each in layers:
            registry.add_middleware(each)
        executor = Executor(registry, threads=1, processes=1, resources={Database: Database()})
        self.opened.append(executor)
        async with asyncio.timeout(10):
            return await executor.execute(self.claimed("job", timeout_seconds=timeout_seconds))


@pytest.fixture
async def runs(claimed: ClaimedJobs) -> AsyncIterator[Runs]:
    made = Runs(claimed)
    yield made
    for each in made.opened:
        await each.close()


async def passes_on(job: JobContext, call_next: Next) -> Outcome:
    return await call_next()


async def waits(job: JobContext, call_next: Next) -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError("not reached")


def fails(input: Any) -> None:
    raise ValueError("bad")


@pytest.mark.parametrize("written", ["async def", "def"])
async def test_middleware_runs_around_a_handler_in_the_order_of_its_registration(runs: Runs, written: str) -> None:
    happened: list[str] = []

    def layer(name: str) -> Layer:
        async def around(job: JobContext, call_next: Next, database: Database) -> Outcome:
            happened.append(f"{name} before {job.processing_logic_id}")
            outcome = await call_next()
            happened.append(f"{name} after {type(outcome).__name__}")
            return outcome

        return around

    async def coroutine(input: Any) -> None:
        happened.append("handler")

    def function(input: Any) -> None:
        happened.append("handler")

    handler = coroutine if written == "async def" else function
    assert await runs.outcome(handler, layer("outer"), layer("inner")) == Succeeded("null")
    assert happened == [
        "outer before job",
        "inner before job",
        "handler",
        "inner after Succeeded",
        "outer after Succeeded",
    ]


async def test_middleware_sees_what_a_handler_raised(runs: Runs) -> None:
    seen: list[Outcome] = []

    async def looks(job: JobContext, call_next: Next) -> Outcome:
        seen.append(await call_next())
        return seen[0]

    await runs.outcome(fails, looks)

    [outcome] = seen
    assert isinstance(outcome, Failed)
    assert (outcome.type, outcome.message, outcome.retryable) == ("ValueError", "bad", True)
    assert isinstance(outcome.exception, ValueError)


async def test_middleware_may_return_another_outcome(runs: Runs) -> None:
    async def gives_up(job: JobContext, call_next: Next) -> Outcome:
        await call_next()
        return Snoozed(5)

    assert await runs.outcome(fails, gives_up) == Snoozed(5)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (JobError("no", type="NO", retryable=False), Failed("NO", "no", False)),
        (SystemExit(3), Failed("SystemExit", "3", True)),
        (Snooze(7), Snoozed(7)),
    ],
    ids=["job-error", "exit", "snooze"],
)
async def test_what_middleware_raises_is_the_outcome_of_the_job(
    runs: Runs, error: BaseException, outcome: Outcome
) -> None:
    seen: list[Outcome] = []

    async def raises(job: JobContext, call_next: Next) -> Outcome:
        raise error

    async def looks(job: JobContext, call_next: Next) -> Outcome:
        seen.append(await call_next())
        return seen[0]

    reached: list[int] = []
    ended = await runs.outcome(reached.append, looks, raises)

    assert reached == []
    assert seen == [ended]
    if isinstance(ended, Failed):
        assert isinstance(outcome, Failed)
        assert (ended.type, ended.message, ended.retryable) == (outcome.type, outcome.message, outcome.retryable)
    else:
        assert ended == outcome


async def test_middleware_that_returns_no_outcome_fails_the_job(runs: Runs) -> None:
    async def forgets(job: JobContext, call_next: Next) -> None:
        await call_next()

    outcome = await runs.outcome(lambda input: 1, forgets)

    assert isinstance(outcome, Failed)
    assert "must return what call_next returned" in outcome.message


async def test_middleware_cannot_run_a_handler_twice(runs: Runs) -> None:
    ran: list[int] = []

    async def repeats(job: JobContext, call_next: Next) -> Outcome:
        await call_next()
        return await call_next()

    outcome = await runs.outcome(ran.append, repeats)

    assert isinstance(outcome, Failed)
    assert len(ran) == 1


@pytest.mark.parametrize("swallows", [False, True], ids=["cancelled", "swallows-it"])
async def test_middleware_that_takes_longer_than_the_timeout_of_the_job_has_timed_out(
    runs: Runs, swallows: bool
) -> None:
    async def swallowing(job: JobContext, call_next: Next) -> Outcome:
        with suppress(asyncio.CancelledError):
            await waits(job, call_next)
        return Succeeded("1")

    outcome = await runs.outcome(lambda input: 1, swallowing if swallows else waits, timeout_seconds=0.05)

    assert isinstance(outcome, Failed)
    assert outcome.type == "TIMEOUT"


async def test_the_time_of_the_handler_does_not_count_as_that_of_the_middleware(runs: Runs) -> None:
    async def slow_before(job: JobContext, call_next: Next) -> Outcome:
        await asyncio.sleep(0.6)
        return await call_next()

    async def slow(input: Any) -> str:
        await asyncio.sleep(0.6)
        return "done"

    assert await runs.outcome(slow, slow_before, timeout_seconds=1.0) == Succeeded('"done"')


async def test_a_job_that_was_not_started_stays_so_whatever_middleware_makes_of_it(claimed: ClaimedJobs) -> None:
    async def swallows(job: JobContext, call_next: Next) -> Outcome:
        with suppress(NotStarted):
            await call_next()
        return Succeeded("1")

    async def no_process() -> Outcome:
        raise NotStarted("no process was free")

    job = JobContext(
        job_id="",
        customer_id="",
        job_type_id="",
        processing_logic_id="",
        queue="",
        attempt=1,
        max_attempts=1,
        labels={},
        request_id="",
        deadline=None,
    )
    for layer in (swallows, passes_on):
        with pytest.raises(NotStarted):
            await Chain([layer]).run(job, None, no_process)


async def test_cancelling_a_run_cancels_its_middleware(claimed: ClaimedJobs) -> None:
    entered = asyncio.Event()
    left = asyncio.Event()

    async def enters(job: JobContext, call_next: Next) -> Outcome:
        try:
            entered.set()
            return await waits(job, call_next)
        finally:
            left.set()

    registry = Registry()
    registry.add("job", lambda input: None)
    registry.add_middleware(enters)
    executor = Executor(registry, threads=1, processes=1)
    running = asyncio.create_task(executor.execute(claimed("job")))
    await entered.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert left.is_set()
    await executor.close()


async def takes_too_little(job: JobContext) -> None: ...


def not_async(job: JobContext, call_next: Next) -> None: ...


@pytest.mark.parametrize(
    ("function", "reason"),
    [(takes_too_little, r"must take \(job, call_next\)"), (not_async, "must be `async def`")],
    ids=["too-little", "def"],
)
def test_what_cannot_be_middleware_is_refused(function: Callable[..., Any], reason: str) -> None:
    with pytest.raises(HandlerRegistrationError, match=reason):
        Registry().add_middleware(function)


def test_what_cannot_be_called_after_a_failure_is_refused() -> None:
    with pytest.raises(HandlerRegistrationError, match=r"on_failure of the handler 'x' must take \(job, error\)"):
        Registry().add("x", fails, on_failure=lambda job: None)


async def test_middleware_cannot_say_that_a_job_was_posted(runs: Runs) -> None:
    async def pretends(job: JobContext, call_next: Next) -> Outcome:
        await call_next()
        return AwaitingCallback("token")

    outcome = await runs.outcome(lambda input: 1, pretends)

    assert isinstance(outcome, Failed)
    assert "that call_next did not return" in outcome.message
