"""What may be done to a job from outside of its runs, and what becomes of it."""

import pytest

from services.jobs.control import cancellation, removal, retried_billing
from services.jobs.domain import FINAL, BillingStatus, JobStatus, is_at_rest
from services.jobs.errors import JobNotCancellable, JobNotRetryable
from tests.jobs_examples import stored_job

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
    assert (cancelled.error_type, cancelled.error_message) == ("CANCELLED", "not needed")


def test_a_cancellation_without_a_reason_has_one() -> None:
    cancelled = cancellation(stored_job(), "")
    assert cancelled is not None
    assert cancelled.error_message == "cancelled by request"


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
    assert retried_billing(stored_job(status=status, billing_status=billing)) is None


@pytest.mark.parametrize("status", OVER)
def test_a_job_that_is_over_may_run_again_when_its_hold_is_released_or_it_is_free(status: JobStatus) -> None:
    may = {
        billing: retried_billing(stored_job(status=status, billing_status=billing))
        for billing in (BillingStatus.RELEASED, BillingStatus.NOT_BILLABLE)
    }
    assert may == {
        BillingStatus.RELEASED: BillingStatus.UNHELD,
        BillingStatus.NOT_BILLABLE: BillingStatus.NOT_BILLABLE,
    }


@pytest.mark.parametrize("status", OVER)
@pytest.mark.parametrize("billing", sorted(set(BillingStatus) - {BillingStatus.RELEASED, BillingStatus.NOT_BILLABLE}))
def test_a_job_whose_money_is_not_settled_can_not_run_again(status: JobStatus, billing: BillingStatus) -> None:
    with pytest.raises(JobNotRetryable):
        retried_billing(stored_job(status=status, billing_status=billing))


@pytest.mark.parametrize("billing", sorted(BillingStatus))
def test_a_job_that_succeeded_can_not_run_again(billing: BillingStatus) -> None:
    with pytest.raises(JobNotRetryable) as caught:
        retried_billing(stored_job(status=JobStatus.SUCCEEDED, billing_status=billing))
    assert caught.value.metadata["billing_status"] == billing.value


def test_a_removal_says_why() -> None:
    removed = removal(stored_job(), JobStatus.FAILED, "RUNNER_LOST", "gone")
    assert (removed.status, removed.billing_status) == (JobStatus.FAILED, BillingStatus.RELEASED)
    assert (removed.error_type, removed.error_message) == ("RUNNER_LOST", "gone")


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
