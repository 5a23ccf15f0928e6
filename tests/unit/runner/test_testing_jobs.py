"""A job of the kit for tests ends as on the platform, attempt by attempt, and takes no time between them."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from innosystem.runner import Failed, JobContext, JobError, Outcome, Snooze, Snoozed, Succeeded, handler, middleware
from innosystem.runner.registry import default_registry
from innosystem.runner.testing import Cancellation, JobRules, run_job, run_job_async
from innosystem.runner.testing.rules import ending
from services.jobs.rules.entities import BillingStatus, JobStatus
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.transitions import completion
from services.jobs.rules.transitions.changes import Failure
from tests.support.jobs_examples import new_job_type
from tests.unit.jobs.test_completion import DONE, job

pytestmark = pytest.mark.usefixtures("own_registry")


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handlers, resources and middleware of a test are forgotten after it."""
    for own in ("_handlers", "_resources"):
        monkeypatch.setattr(default_registry, own, {})
    monkeypatch.setattr(default_registry, "_middleware", [])


def test_a_job_that_fails_runs_again_after_its_backoff_which_takes_no_time() -> None:
    def third(input: Any, job: JobContext) -> dict[str, Any]:
        if job.attempt < 3:
            raise OSError("not yet")
        return {"attempt": job.attempt, "max": job.max_attempts, "input": input}

    began = time.monotonic()
    result = run_job(third, (1,), rules=JobRules(initial_backoff_seconds=3600, max_backoff_seconds=5000, price_cents=7))

    assert time.monotonic() - began < 60
    assert (result.status, result.charged_cents, result.error) == ("SUCCEEDED", 7, None)
    assert result.output == {"attempt": 3, "max": 10, "input": [1]}
    assert [(one.number, one.waited_seconds) for one in result.attempts] == [(1, 0), (2, 3600), (3, 5000)]
    assert [one.error and one.error.type for one in result.attempts] == ["OSError", "OSError", None]
    assert result.waited_seconds == 8600


def test_a_job_without_attempts_left_has_failed_costs_nothing_and_calls_on_failure_once() -> None:
    seen: list[tuple[int, str]] = []

    async def tell(job: JobContext, error: JobError) -> None:
        seen.append((job.attempt, error.message))

    @handler("fails", on_failure=tell)
    async def fails(input: None) -> None:
        raise JobError("no", retry_after=60)

    result = run_job("fails", rules=JobRules(max_attempts=2, price_cents=7))

    assert (result.status, result.charged_cents, len(result.attempts)) == ("FAILED", 0, 2)
    assert result.error is not None
    assert (result.error.message, result.waited_seconds) == ("no", 60)
    assert seen == [(2, "no")]


def test_a_failure_that_is_not_retryable_and_an_input_that_does_not_fit_end_the_job() -> None:
    def final(input: int) -> None:
        raise JobError("never", retryable=False)

    assert [len(run_job(final, given).attempts) for given in (1, "x")] == [1, 1]
    refused = run_job(final, "x").error
    assert refused is not None
    assert refused.type == "INVALID_INPUT"


def test_a_snoozed_job_uses_up_no_attempt() -> None:
    def waits(input: Any, job: JobContext) -> int:
        if job.snooze_count < 2:
            raise Snooze(30)
        return job.attempt

    result = run_job(waits, rules=JobRules(max_attempts=1))

    assert (result.output, result.waited_seconds) == (1, 60)
    assert [one.outcome for one in result.attempts] == [Snoozed(30), Snoozed(30), Succeeded("1")]


def test_a_job_that_is_always_snoozed_fails() -> None:
    def waits(input: Any) -> None:
        raise Snooze(1)

    result = run_job(waits)

    assert result.error is not None
    assert (result.status, result.error.type, len(result.attempts)) == ("FAILED", "SNOOZED_TOO_OFTEN", 101)


def test_a_run_that_takes_too_long_is_a_failed_attempt() -> None:
    async def hangs_first(input: Any, job: JobContext) -> int:
        if job.attempt == 1:
            await asyncio.Event().wait()
        return job.attempt

    result = run_job(hangs_first, rules=JobRules(timeout_seconds=0.05))

    assert (result.status, result.output) == ("SUCCEEDED", 2)
    assert result.attempts[0].error is not None
    assert result.attempts[0].error.type == "TIMEOUT"


def test_a_cancelled_coroutine_is_stopped_and_its_job_costs_nothing() -> None:
    cancellation, ended = Cancellation(), []

    async def waits(input: Any) -> None:
        cancellation.request()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    result = run_job(waits, rules=JobRules(price_cents=7), cancellation=cancellation)

    assert (result.status, result.charged_cents, ended) == ("CANCELLED", 0, [True])
    assert [one.outcome for one in result.attempts] == [None]


def test_a_thread_is_asked_to_stop_when_its_job_is_cancelled_and_its_result_is_dropped() -> None:
    cancellation, stopped = Cancellation(), threading.Event()

    def asks(input: Any, job: JobContext) -> str:
        cancellation.request()
        until = time.monotonic() + 30
        while not job.stop_requested() and time.monotonic() < until:
            time.sleep(0.001)
        if job.stop_requested():
            stopped.set()
        return "late"

    result = run_job(asks, cancellation=cancellation)

    assert (result.status, result.output) == ("CANCELLED", None)
    assert stopped.wait(30)


def test_a_job_that_is_cancelled_before_it_runs_never_runs() -> None:
    cancellation = Cancellation()
    cancellation.request()

    result = run_job(lambda _: 1, cancellation=cancellation)

    assert (result.status, result.attempts) == ("CANCELLED", [])


def test_a_field_that_no_job_has_is_refused() -> None:
    with pytest.raises(ValueError, match="color"):
        run_job(lambda _: 1, color="red")


def test_middleware_is_around_each_run_and_resources_are_replaced() -> None:
    seen: list[str] = []

    class Shop:
        name = "a shop"

    @middleware
    async def notes(job: JobContext, call_next: Callable[[], Awaitable[Outcome]], shop: Shop) -> Outcome:
        outcome = await call_next()
        seen.append(f"{shop.name} {job.attempt} {type(outcome).__name__}")
        return outcome

    async def fails_once(input: Any, job: JobContext, shop: Shop) -> str:
        if job.attempt == 1:
            raise OSError
        return shop.name

    assert run_job(fails_once, resources={Shop: Shop()}).output == "a shop"
    assert seen == ["a shop 1 Failed", "a shop 2 Succeeded"]


@pytest.mark.parametrize(("units", "charged"), [(None, 5), (3, 2), (100, 9)])
def test_a_metered_job_is_charged_by_what_it_reports(units: int | None, charged: int) -> None:
    def uses(input: Any, job: JobContext) -> None:
        if units is not None:
            job.usage(units)

    result = run_job(uses, rules=JobRules(price_cents=5, unit_price_micro_cents=500_000, max_cost_cents=9))

    assert (result.usage_units, result.charged_cents) == (units, charged)


async def test_a_test_with_an_event_loop_awaits_the_job() -> None:
    @handler("in-process", process=True)
    def here(input: Any) -> bool:
        return threading.current_thread() is not threading.main_thread()

    assert (await run_job_async("in-process", labels={"team": "blue"}, job_id="j")).output is True


OUTCOMES = [
    (
        Succeeded("1", 3),
        completion.Completion(job_id=DONE.job_id, lease_id=DONE.lease_id, outcome=Payload("1", 0), usage_units=3),
    ),
    (Succeeded("1"), DONE),
    (Failed("E", "no", True), Failure(type="E", message="no", retryable=True)),
    (Failed("E", "no", False), Failure(type="E", message="no", retryable=False)),
    (
        Failed("E", "no", True, "", 7.0),
        Failure(type="E", message="no", retryable=True, retry_after=timedelta(seconds=7)),
    ),
    (Snoozed(9.0), completion.Snooze(timedelta(seconds=9))),
]


@pytest.mark.parametrize("attempt", [1, 4, 5])
@pytest.mark.parametrize("snoozes", [0, 99, 100])
@pytest.mark.parametrize("metered", [True, False])
@pytest.mark.parametrize(("outcome", "reported"), OUTCOMES, ids=lambda one: type(one).__name__)
def test_what_becomes_of_a_job_is_what_the_jobs_service_decides(
    outcome: Outcome, reported: Any, metered: bool, snoozes: int, attempt: int
) -> None:
    done = reported
    if not isinstance(reported, completion.Completion):
        done = completion.Completion(job_id=DONE.job_id, lease_id=DONE.lease_id, outcome=reported)
    price = {"metering_unit": "page", "unit_price_micro_cents": 700_000, "standard_cost_cents": 7} if metered else {}
    running = job(
        attempt=attempt,
        snooze_count=snoozes,
        max_attempts=5,
        billing_status=BillingStatus.HELD,
        estimated_cost_cents=9 if metered else 7,
        **price,
    )
    decided = completion.ending(running, done, new_job_type(max_attempts=5), settle_after=timedelta(0))
    rules = JobRules(
        max_attempts=5, price_cents=7, max_cost_cents=9, unit_price_micro_cents=700_000 if metered else None
    )

    ours = ending(outcome, rules, attempt=attempt, snooze_count=snoozes)

    assert ours.status == JobStatus(decided.status).name
    assert ours.charged_cents == (decided.cost_cents or 0)
    assert decided.attempt == (attempt if ours.uses_attempt else attempt - 1)
    assert decided.snooze_count == (snoozes if ours.uses_attempt else snoozes + 1)
    assert (ours.error and ours.error.type) == (decided.error and decided.error.type)
    assert (ours.error and ours.error.message) == (decided.error and decided.error.message)
    if decided.run_at is not None:
        assert 0.79 * ours.wait_seconds <= decided.run_at.total_seconds() <= 1.21 * ours.wait_seconds


@pytest.mark.parametrize("attempt", [1, 2, 12, 13, 5000])
def test_backoff_is_that_of_the_jobs_service_without_its_random_part(attempt: int) -> None:
    waits = completion.backoff(new_job_type(), attempt).total_seconds()

    assert 0.79 * JobRules().backoff_seconds(attempt) <= waits <= 1.21 * JobRules().backoff_seconds(attempt)


def test_the_defaults_are_those_of_the_jobs_service() -> None:
    theirs, ours = new_job_type(), JobRules()

    assert ours.max_attempts == theirs.max_attempts
    assert timedelta(seconds=ours.timeout_seconds or 0) == theirs.timeout
    assert timedelta(seconds=ours.initial_backoff_seconds) == theirs.retry_initial_backoff
    assert timedelta(seconds=ours.max_backoff_seconds) == theirs.retry_max_backoff
    assert ours.backoff_multiplier == theirs.retry_multiplier
