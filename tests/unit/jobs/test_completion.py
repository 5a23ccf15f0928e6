from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from services.jobs.completion import Completion, Failure, Settlement, ended, ending, holds_lease, is_repeated, settled
from services.jobs.domain import BillingStatus, Job, JobStatus, charge_due
from services.jobs.job_types import Priority

JOB, LEASE, OTHER, TRANSACTION = (UUID(int=number) for number in range(1, 5))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DONE = Completion(job_id=JOB, lease_id=LEASE, output_data="1")
FAILED = Completion(job_id=JOB, lease_id=LEASE, failure=Failure(type="E", message="no", retryable=False))
PAID = Settlement(job_id=JOB, transaction_id=TRANSACTION)
POOR = Settlement(job_id=JOB, declined_reason="INSUFFICIENT_FUNDS")
LOST = Settlement(job_id=JOB, declined_reason="WALLET_NOT_FOUND")


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
    end = ending(job(billing_status=billing), DONE)
    assert (end.status, end.billing_status, end.cost_cents) == (JobStatus.SUCCEEDED, BillingStatus.CHARGE_DUE, 7)


def test_a_success_of_a_free_job_costs_nothing() -> None:
    end = ending(job(billing_status=BillingStatus.NOT_BILLABLE, estimated_cost_cents=0), DONE)
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
    end = ending(job(billing_status=before), FAILED)
    assert (end.status, end.billing_status, end.cost_cents) == (JobStatus.FAILED, after, None)


def test_only_a_running_job_under_this_very_lease_is_held() -> None:
    assert holds_lease(job(), LEASE)
    assert not holds_lease(job(), OTHER)
    assert not holds_lease(job(status=JobStatus.PENDING), LEASE)


def test_the_same_completion_again_is_told_from_any_other() -> None:
    after = ended(job(), DONE, ending(job(), DONE))
    assert is_repeated(after, DONE)
    assert not is_repeated(after, FAILED)
    assert not is_repeated(after, Completion(job_id=JOB, lease_id=LEASE, output_data="2"))
    assert not is_repeated(after, Completion(job_id=JOB, lease_id=OTHER, output_data="1"))
    assert not is_repeated(job(), DONE)


def test_a_charge_is_due_only_until_it_is_settled() -> None:
    due = job(status=JobStatus.SUCCEEDED, billing_status=BillingStatus.CHARGE_DUE, cost_cents=7)
    charge = charge_due(due)
    assert charge is not None
    assert (charge.amount_cents, charge.idempotency_key) == (7, f"job:{JOB}")
    assert charge_due(job(billing_status=BillingStatus.CHARGED, cost_cents=7)) is None


ANY = set(BillingStatus)
UNPAID = {BillingStatus.CHARGE_DUE, BillingStatus.DECLINED, BillingStatus.CHARGE_BLOCKED}


@pytest.mark.parametrize("status", sorted(ANY))
def test_settlements_move_only_what_they_may(status: BillingStatus) -> None:
    due = status is BillingStatus.CHARGE_DUE
    assert settled(job(billing_status=status), PAID) == (BillingStatus.CHARGED if status in UNPAID else None)
    assert settled(job(billing_status=status), POOR) == (BillingStatus.DECLINED if due else None)
    assert settled(job(billing_status=status), LOST) == (BillingStatus.CHARGE_BLOCKED if due else None)
