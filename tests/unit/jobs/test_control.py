"""What may be done to a job from outside of its runs, and what becomes of it."""

import pytest

from services.jobs.rules.entities import FINAL, BillingStatus, JobStatus, is_at_rest
from services.jobs.rules.errors import InsufficientFunds, JobNotCancellable, JobNotRetryable
from services.jobs.rules.holds import Reserved
from services.jobs.rules.transitions.control import Retry, cancellation, hold_for_retry, removal, retried
from services.kit.errors import ConcurrentUpdate
from tests.support.jobs_examples import stored_job

LIVE = sorted(set(JobStatus) - FINAL)
OVER = [JobStatus.FAILED, JobStatus.CANCELLED]


@pytest.mark.parametrize("status", LIVE)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (BillingStatus.UNHELD, BillingStatus.RELEASED),
        (BillingStatus.HELD, BillingStatus.RELEASE_DUE),
        (BillingStatus.NOT_BILLABLE, BillingStatus.NOT_BILLABLE),
    ],
)
def test_a_job_that_is_not_over_is_cancelled_and_gives_back_what_was_held(
    status: JobStatus, before: BillingStatus, after: BillingStatus
) -> None:
    job = stored_job(status=status, billing_status=before)
    cancelled = cancellation(job, "not needed")
    assert cancelled is not None
    assert (cancelled.job_id, cancelled.status, cancelled.billing_status) == (job.id, JobStatus.CANCELLED, after)
    assert (cancelled.error.type, cancelled.error.message) == ("CANCELLED", "not needed")


def test_a_cancellation_without_a_reason_has_one() -> None:
    cancelled = cancellation(stored_job(), "")
    assert cancelled is not None
    assert cancelled.error.message == "cancelled by request"


def test_a_cancelled_job_is_not_cancelled_again() -> None:
    assert cancellation(stored_job(status=JobStatus.CANCELLED), "") is None


@pytest.mark.parametrize("status", [JobStatus.SUCCEEDED, JobStatus.FAILED])
def test_a_job_that_has_ended_can_not_be_cancelled(status: JobStatus) -> None:
    job = stored_job(status=status)
    with pytest.raises(JobNotCancellable) as caught:
        cancellation(job, "")
    assert caught.value.metadata == {"job_id": str(job.id), "status": status.value}


@pytest.mark.parametrize("status", LIVE)
@pytest.mark.parametrize("billing", sorted(BillingStatus))
def test_a_job_that_is_not_over_is_left_to_run(status: JobStatus, billing: BillingStatus) -> None:
    job = stored_job(status=status, billing_status=billing)
    assert hold_for_retry(job) is None
    assert retried(job, {}) is None


@pytest.mark.parametrize("status", OVER)
def test_a_free_job_that_is_over_may_run_again_without_a_hold(status: JobStatus) -> None:
    job = stored_job(status=status, billing_status=BillingStatus.NOT_BILLABLE)
    assert hold_for_retry(job) is None
    assert retried(job, {}) == Retry.of(job)


@pytest.mark.parametrize("status", OVER)
def test_a_job_that_is_over_and_released_needs_a_hold_of_the_next_generation_at_the_frozen_price(
    status: JobStatus,
) -> None:
    job = stored_job(status=status, billing_status=BillingStatus.RELEASED, estimated_cost_cents=7, hold_generation=2)
    needed = hold_for_retry(job)
    assert needed is not None
    assert (needed.job_id, needed.customer_id, needed.currency) == (job.id, job.customer_id, "EUR")
    assert (needed.amount_cents, needed.generation) == (7, 3)
    hold = Reserved(needed.hold_id, 3, 7)
    again = retried(job, {job.id: hold})
    assert again is not None
    assert (again.billing_status, again.hold_id, again.hold_generation) == (BillingStatus.HELD, hold.hold_id, 3)


def test_a_job_without_a_hold_is_not_run_again_for_the_reason_that_there_is_none() -> None:
    job = stored_job(status=JobStatus.FAILED, billing_status=BillingStatus.RELEASED)
    with pytest.raises(InsufficientFunds):
        retried(job, {job.id: InsufficientFunds(0, 5, "EUR", job.customer_id)})


@pytest.mark.parametrize("generation", [None, 1, 2])
def test_a_job_that_was_run_again_and_ended_meanwhile_needs_a_later_hold(generation: int | None) -> None:
    job = stored_job(status=JobStatus.FAILED, billing_status=BillingStatus.RELEASED, hold_generation=2)
    reserved = {} if generation is None else {job.id: Reserved(job.id, generation, 5)}
    with pytest.raises(ConcurrentUpdate):
        retried(job, reserved)


@pytest.mark.parametrize("status", OVER)
@pytest.mark.parametrize("billing", sorted(set(BillingStatus) - {BillingStatus.RELEASED, BillingStatus.NOT_BILLABLE}))
def test_a_job_whose_money_is_not_settled_can_not_run_again(status: JobStatus, billing: BillingStatus) -> None:
    job = stored_job(status=status, billing_status=billing)
    assert hold_for_retry(job) is None
    with pytest.raises(JobNotRetryable) as caught:
        retried(job, {})
    # The settler is about to release the hold.
    assert (caught.value.retry_after_seconds is not None) == (billing is BillingStatus.RELEASE_DUE)


@pytest.mark.parametrize("billing", sorted(BillingStatus))
def test_a_job_that_succeeded_can_not_run_again(billing: BillingStatus) -> None:
    with pytest.raises(JobNotRetryable) as caught:
        retried(stored_job(status=JobStatus.SUCCEEDED, billing_status=billing), {})
    assert caught.value.metadata["billing_status"] == billing.value


def test_a_removal_says_why() -> None:
    removed = removal(stored_job(), JobStatus.FAILED, "RUNNER_LOST", "gone")
    assert (removed.status, removed.billing_status) == (JobStatus.FAILED, BillingStatus.RELEASED)
    assert (removed.error.type, removed.error.message) == ("RUNNER_LOST", "gone")


def test_a_job_is_at_rest_when_it_is_over_and_nothing_more_happens_to_its_money_by_itself() -> None:
    at_rest = {
        billing for billing in BillingStatus if is_at_rest(stored_job(status=JobStatus.FAILED, billing_status=billing))
    }
    assert at_rest == {
        BillingStatus.NOT_BILLABLE,
        BillingStatus.CHARGED,
        BillingStatus.RELEASED,
        BillingStatus.DECLINED,
        BillingStatus.CHARGE_BLOCKED,
    }
    assert not any(is_at_rest(stored_job(status=status, billing_status=BillingStatus.RELEASED)) for status in LIVE)
