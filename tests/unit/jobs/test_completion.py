from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.jobs.rules.entities import Billing, BillingStatus, Job, JobStatus, charge_due
from services.jobs.rules.job_types import NewJobType, Priority
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.transitions.changes import Failure, applied
from services.jobs.rules.transitions.completion import (
    SNOOZES_MAX,
    Charged,
    Completion,
    Declined,
    Ending,
    Settlement,
    Snooze,
    backoff,
    ending,
    holds_lease,
    is_proven,
    is_repeated,
    settled,
)
from tests.support.jobs_examples import new_job_type

JOB, LEASE, OTHER, TRANSACTION = (UUID(int=number) for number in range(1, 5))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DONE = Completion(job_id=JOB, lease_id=LEASE, outcome=Payload("1", 0))
FAILED = Completion(job_id=JOB, lease_id=LEASE, outcome=Failure(type="E", message="no", retryable=False))
PAID = Charged(JOB, TRANSACTION)
POOR = Declined(JOB, "INSUFFICIENT_FUNDS")
LOST = Declined(JOB, "WALLET_NOT_FOUND")


def job(**values: Any) -> Job:
    defaults: dict[str, Any] = {
        "id": JOB,
        "customer_id": OTHER,
        "job_type_id": OTHER,
        "status": JobStatus.RUNNING,
        "billing_status": BillingStatus.UNHELD,
        "priority": Priority.LOW,
        "queue": "default",
        "input_data": None,
        "input_bytes": 1,
        "estimated_cost_cents": 7,
        "currency": "EUR",
        "max_attempts": 1,
        "expires_at": NOW,
        "created_at": NOW,
        "queued_at": NOW,
        "lease_id": LEASE,
    }
    return Job(**{**defaults, **values})


@pytest.mark.parametrize("billing", [BillingStatus.UNHELD, BillingStatus.HELD])
def test_a_success_of_a_billable_job_is_due_at_the_frozen_price(billing: BillingStatus) -> None:
    end = ending(job(billing_status=billing), DONE, settle_after=MINUTE)
    assert (end.status, end.billing_status, end.cost_cents) == (JobStatus.SUCCEEDED, BillingStatus.CHARGE_DUE, 7)


def test_a_success_of_a_free_job_costs_nothing() -> None:
    end = ending(job(billing_status=BillingStatus.NOT_BILLABLE, estimated_cost_cents=0), DONE, settle_after=MINUTE)
    assert (end.status, end.billing_status, end.cost_cents) == (JobStatus.SUCCEEDED, BillingStatus.NOT_BILLABLE, 0)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (BillingStatus.UNHELD, BillingStatus.RELEASED),
        (BillingStatus.HELD, BillingStatus.RELEASE_DUE),
        (BillingStatus.NOT_BILLABLE, BillingStatus.NOT_BILLABLE),
    ],
)
def test_a_failure_costs_nothing_and_gives_back_what_was_held(before: BillingStatus, after: BillingStatus) -> None:
    end = ending(job(billing_status=before), FAILED, settle_after=MINUTE)
    assert (end.status, end.billing_status, end.cost_cents) == (JobStatus.FAILED, after, None)


def test_only_a_running_job_under_this_very_lease_is_held() -> None:
    assert holds_lease(job(), LEASE)
    assert not holds_lease(job(), OTHER)
    assert not holds_lease(job(status=JobStatus.PENDING), LEASE)


def test_the_same_completion_again_is_told_from_any_other() -> None:
    after = applied(job(), ending(job(), DONE, settle_after=MINUTE))
    assert is_repeated(after, DONE)
    assert not is_repeated(after, FAILED)
    assert not is_repeated(after, Completion(job_id=JOB, lease_id=LEASE, outcome=Payload("2", 0)))
    assert not is_repeated(after, Completion(job_id=JOB, lease_id=OTHER, outcome=Payload("1", 0)))
    assert not is_repeated(job(), DONE)


def test_a_charge_is_due_only_until_it_is_settled() -> None:
    due = job(status=JobStatus.SUCCEEDED, billing_status=BillingStatus.CHARGE_DUE, cost_cents=7)
    charge = charge_due(due)
    assert charge is not None
    assert (charge.amount_cents, charge.idempotency_key) == (7, f"job:{JOB}")
    assert charge_due(job(billing_status=BillingStatus.CHARGED, cost_cents=7)) is None


ANY = set(BillingStatus)
UNPAID = {BillingStatus.CHARGE_DUE, BillingStatus.DECLINED, BillingStatus.CHARGE_BLOCKED}


def status_after(status: BillingStatus, settlement: Settlement) -> BillingStatus | None:
    change = settled(status, settlement, MINUTE)
    return None if change is None else change.billing_status


@pytest.mark.parametrize("status", sorted(ANY))
def test_settlements_move_only_what_they_may(status: BillingStatus) -> None:
    due = status is BillingStatus.CHARGE_DUE
    assert status_after(status, PAID) == (BillingStatus.CHARGED if status in UNPAID else None)
    assert status_after(status, POOR) == (BillingStatus.DECLINED if due else None)
    # Of what was declined the ledger may say later that no retry helps.
    tried = due or status is BillingStatus.DECLINED
    assert status_after(status, LOST) == (BillingStatus.CHARGE_BLOCKED if tried else None)


@pytest.mark.parametrize("status", sorted(ANY))
def test_of_what_a_runner_says_of_a_refusal_only_missing_funds_are_believed(status: BillingStatus) -> None:
    poor, lost = (replace(one, is_hearsay=True) for one in (POOR, LOST))
    assert status_after(status, poor) == status_after(status, POOR)
    assert status_after(status, lost) is None


def test_a_charge_of_another_amount_than_the_cost_is_not_that_of_the_job() -> None:
    billing = Billing(BillingStatus.CHARGE_DUE, 7)
    assert is_proven(billing, PAID)
    assert is_proven(billing, replace(PAID, amount_cents=7))
    assert not is_proven(billing, replace(PAID, amount_cents=6))
    assert not is_proven(Billing(BillingStatus.HELD, None), replace(PAID, amount_cents=7))
    assert is_proven(billing, POOR)


SECOND = timedelta(seconds=1)
AGAIN = Failure(type="E", message="no", retryable=True)


def policy(initial: float = 10, longest: float = 1000, multiplier: float = 3) -> NewJobType:
    return new_job_type(
        retry_initial_backoff=initial * SECOND, retry_max_backoff=longest * SECOND, retry_multiplier=multiplier
    )


def failed(failure: Failure = AGAIN, job_type: NewJobType | None = None, **values: Any) -> Ending:
    attempts = {"attempt": 1, "max_attempts": 3, **values}
    return ending(
        job(**attempts),
        Completion(job_id=JOB, lease_id=LEASE, outcome=failure),
        job_type or policy(),
        settle_after=MINUTE,
    )


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 10), (2, 30), (3, 90), (5, 810), (6, 1000), (10_000, 1000)])
def test_the_backoff_grows_by_the_multiplier_up_to_the_longest(attempt: int, seconds: float) -> None:
    waits = [backoff(policy(), attempt) / SECOND for _ in range(200)]
    assert all(0.8 * seconds <= wait <= 1.2 * seconds for wait in waits)
    # And spreads over most of it.
    assert min(waits) < 0.85 * seconds
    assert max(waits) > 1.15 * seconds


def test_a_multiplier_of_one_waits_the_same_each_time() -> None:
    assert 8 <= backoff(policy(multiplier=1), 50) / SECOND <= 12


def test_a_failure_to_be_tried_again_is_scheduled_at_no_cost_while_attempts_are_left() -> None:
    end = failed()
    assert (end.status, end.billing_status) == (JobStatus.SCHEDULED, BillingStatus.UNHELD)
    assert (end.attempt, end.cost_cents, end.error) == (1, None, AGAIN)
    assert end.run_at is not None
    assert 8 <= end.run_at / SECOND <= 12


def test_the_backoff_is_that_of_the_attempt_that_failed() -> None:
    end = failed(attempt=2)
    assert end.run_at is not None
    assert 24 <= end.run_at / SECOND <= 36


@pytest.mark.parametrize("wait", [timedelta(0), timedelta(hours=5)])
def test_the_runner_may_say_how_long_to_wait_instead(wait: timedelta) -> None:
    end = failed(Failure(type="E", message="no", retryable=True, retry_after=wait))
    assert (end.status, end.run_at) == (JobStatus.SCHEDULED, wait)


@pytest.mark.parametrize(
    ("failure", "values"),
    [
        (Failure(type="E", message="no", retryable=False), {}),
        (Failure(type="E", message="no", retryable=False, retry_after=SECOND), {}),
        (AGAIN, {"attempt": 3}),
        (AGAIN, {"attempt": 4}),
    ],
)
def test_a_failure_is_final_when_it_is_not_to_be_tried_again_or_no_attempt_is_left(
    failure: Failure, values: dict[str, Any]
) -> None:
    end = failed(failure, **values)
    assert (end.status, end.billing_status, end.run_at) == (JobStatus.FAILED, BillingStatus.RELEASED, None)


def test_a_snooze_gives_the_attempt_back_and_is_counted() -> None:
    snooze = Completion(job_id=JOB, lease_id=LEASE, outcome=Snooze(SECOND))
    end = ending(job(attempt=1, snooze_count=SNOOZES_MAX - 1), snooze, settle_after=MINUTE)
    assert (end.status, end.billing_status) == (JobStatus.SCHEDULED, BillingStatus.UNHELD)
    assert (end.attempt, end.snooze_count, end.run_at, end.error) == (0, SNOOZES_MAX, SECOND, None)


def test_a_job_that_was_snoozed_too_often_has_failed() -> None:
    snooze = Completion(job_id=JOB, lease_id=LEASE, outcome=Snooze(SECOND))
    end = ending(job(attempt=1, max_attempts=9, snooze_count=SNOOZES_MAX), snooze, settle_after=MINUTE)
    assert (end.status, end.billing_status, end.run_at) == (JobStatus.FAILED, BillingStatus.RELEASED, None)
    assert end.error is not None
    assert (end.error.type, end.error.retryable) == ("SNOOZED_TOO_OFTEN", False)


def test_snoozes_and_waits_are_part_of_what_makes_a_completion_the_same() -> None:
    snooze = Completion(job_id=JOB, lease_id=LEASE, outcome=Snooze(SECOND))
    after = applied(job(), ending(job(), snooze, settle_after=MINUTE))
    assert is_repeated(after, snooze)
    assert not is_repeated(after, Completion(job_id=JOB, lease_id=LEASE, outcome=Snooze(2 * SECOND)))
    later = Failure(type="E", message="no", retryable=True, retry_after=SECOND)
    one = Completion(job_id=JOB, lease_id=LEASE, outcome=AGAIN)
    assert one.digest != Completion(job_id=JOB, lease_id=LEASE, outcome=later).digest


def test_a_job_that_waits_for_its_next_attempt_owes_nothing() -> None:
    one = Completion(job_id=JOB, lease_id=LEASE, outcome=AGAIN)
    before = job(attempt=1, max_attempts=2)
    assert charge_due(applied(before, ending(before, one, policy(), settle_after=MINUTE))) is None
