import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.jobs.rules.entities import BillingStatus, JobStatus, NewJob
from services.jobs.rules.errors import InputTooLarge, JobTypeDisabled, PriceAboveMaximum
from services.jobs.rules.job_types import JobType, Priority
from services.jobs.rules.schemas.payloads import BYTES_MAX
from services.jobs.rules.submission import HORIZON, Submission, admitted, checked_input
from services.kit.errors import InvalidField
from services.kit.idempotency import check_same
from tests.support.jobs_examples import MINUTE, NOW, stored_job_type

ID = UUID(int=1)
SCHEMA = json.dumps({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})


def submission(**values: Any) -> Submission:
    defaults: dict[str, Any] = {"job_id": ID, "customer_id": ID, "job_type": "echo", "input_json": '{"n": 1}'}
    defaults["request_id"] = "request"
    return Submission(**{**defaults, **values})


def admit(job_type: JobType | None = None, **values: Any) -> NewJob:
    one = submission(**values)
    return admitted(one, job_type or stored_job_type(), checked_input(one), now=NOW)


def test_the_price_and_the_defaults_of_the_job_type_are_frozen_into_the_job() -> None:
    job_type = stored_job_type(
        standard_cost_cents=7,
        currency="USD",
        queue="slow",
        default_priority=Priority.LOW,
        max_attempts=3,
        expires_after=timedelta(hours=1),
    )
    job = admit(job_type)
    assert (job.job_type_id, job.estimated_cost_cents, job.currency) == (job_type.id, 7, "USD")
    assert (job.queue, job.priority, job.max_attempts) == ("slow", Priority.LOW, 3)
    assert job.expires_at == NOW + timedelta(hours=1)
    assert (job.billing_status, job.request_id) == (BillingStatus.HELD, "request")


def test_what_the_caller_says_wins_over_the_defaults() -> None:
    job = admit(priority=Priority.HIGH, expires_at=NOW + MINUTE)
    assert (job.priority, job.expires_at) == (Priority.HIGH, NOW + MINUTE)


def test_a_free_job_is_not_billable() -> None:
    assert admit(stored_job_type(standard_cost_cents=0)).billing_status is BillingStatus.NOT_BILLABLE


def test_a_disabled_job_type_is_refused() -> None:
    with pytest.raises(JobTypeDisabled):
        admit(stored_job_type(enabled=False))


def test_a_price_above_the_callers_maximum_is_refused_and_one_equal_to_it_is_not() -> None:
    assert admit(max_cost_cents=5).estimated_cost_cents == 5
    with pytest.raises(PriceAboveMaximum) as caught:
        admit(max_cost_cents=4)
    assert caught.value.metadata == {"price_cents": "5", "max_cost_cents": "4", "currency": "EUR"}


@pytest.mark.parametrize(("field", "value"), [("run_at", NOW + HORIZON + MINUTE), ("expires_at", NOW)])
def test_times_that_can_not_be_kept_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(InvalidField) as caught:
        admit(None, **{field: value})
    assert [violation.field for violation in caught.value.violations] == [field]


def test_a_job_for_later_is_scheduled_and_expires_as_much_later() -> None:
    job = admit(stored_job_type(expires_after=timedelta(hours=1)), run_at=NOW + HORIZON)
    assert (job.status, job.run_at) == (JobStatus.SCHEDULED, NOW + HORIZON)
    assert job.expires_at == NOW + HORIZON + timedelta(hours=1)


@pytest.mark.parametrize("run_at", [NOW, NOW - MINUTE])
def test_a_job_for_now_or_before_waits_at_once(run_at: datetime) -> None:
    job = admit(stored_job_type(expires_after=timedelta(hours=1)), run_at=run_at)
    assert (job.status, job.expires_at) == (JobStatus.PENDING, NOW + timedelta(hours=1))


@pytest.mark.parametrize("expires_at", [NOW + MINUTE, NOW + 2 * MINUTE])
def test_a_job_may_not_expire_before_it_may_run(expires_at: datetime) -> None:
    with pytest.raises(InvalidField, match="run_at"):
        admit(None, run_at=NOW + 2 * MINUTE, expires_at=expires_at)


def test_an_input_of_one_byte_too_many_is_too_large() -> None:
    checked_input(submission(input_json='"' + "x" * (BYTES_MAX - 2) + '"'))
    with pytest.raises(InputTooLarge):
        checked_input(submission(input_json='"' + "x" * (BYTES_MAX - 1) + '"'))


def test_labels_in_another_order_are_the_same_submission() -> None:
    job = admit(labels={"a": "1", "b": "2"})
    check_same(submission(labels={"b": "2", "a": "1"}).parameters, job.request_digest)


def test_every_parameter_but_the_id_is_part_of_the_digest() -> None:
    one = submission()
    changes: dict[str, Any] = {
        "customer_id": UUID(int=2),
        "job_type": "other",
        "priority": Priority.HIGH,
        "input_json": "2",
        "run_at": NOW,
        "expires_at": NOW,
        "max_cost_cents": 1,
        "labels": {"a": "1"},
    }
    assert changes.keys() == one.parameters.keys()
    for name, value in changes.items():
        assert replace(one, **{name: value}).parameters[name] != one.parameters[name]
