"""The changes of jobs: which columns each class of them writes, and what a job becomes by them."""

from dataclasses import fields
from datetime import timedelta
from uuid import uuid4

import pytest

from services.jobs.rules.entities import BillingStatus, Job, JobError, JobStatus
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.transitions.changes import NOW, Change, Failure, applied
from services.jobs.rules.transitions.completion import (
    BillingChange,
    Completion,
    Ending,
    GiveBack,
    Snooze,
    ending,
    given_back,
)
from services.jobs.rules.transitions.control import Removal, Retry, removal
from services.jobs.rules.transitions.rescue import Rescue
from services.jobs.store.statements.transitions import STATEMENTS
from services.jobs.store.tables import jobs
from tests.support import jobs_examples
from tests.support.jobs_examples import LATER, MINUTE, stored_job

CLASSES = [Ending, GiveBack, Rescue, Removal, Retry, BillingChange]


def running() -> Job:
    return stored_job(
        status=JobStatus.RUNNING,
        billing_status=BillingStatus.HELD,
        attempt=2,
        lease_id=uuid4(),
        lease_expires_at=LATER,
        dispatched_at=jobs_examples.NOW,
        hold_id=uuid4(),
    )


@pytest.mark.parametrize("kind", CLASSES)
def test_each_class_of_changes_has_a_statement_and_writes_columns_of_jobs(kind: type[Change]) -> None:
    written = {field.name for field in fields(kind)} - {"job_id"}
    assert kind in STATEMENTS
    assert written | kind.constant.keys() <= set(jobs.c.keys())
    assert not written & kind.constant.keys()
    assert kind.kept <= written


def test_a_time_is_so_far_from_the_time_of_the_transaction() -> None:
    job = running()
    after = applied(job, removal(job, JobStatus.FAILED, "E", "no"), LATER)
    assert (after.status, after.completed_at, after.lease_id, after.dispatched_at) == (
        JobStatus.FAILED,
        LATER,
        None,
        None,
    )
    assert after.error == JobError("E", "no", retryable=False, attempt=2, at=LATER)
    assert after.version == job.version + 1


def test_without_the_time_of_the_transaction_times_and_errors_stay_as_they_were() -> None:
    job = running()
    after = applied(job, removal(job, JobStatus.FAILED, "E", "no"))
    assert (after.status, after.billing_status) == (JobStatus.FAILED, BillingStatus.RELEASE_DUE)
    assert (after.completed_at, after.error) == (job.completed_at, job.error)


def test_a_column_that_is_kept_stays_as_it_was_unless_it_has_a_new_value() -> None:
    job = running()
    assert applied(job, given_back(job, Completion(job_id=job.id, lease_id=uuid4()), None), LATER).run_at == job.run_at
    later = given_back(job, Completion(job_id=job.id, lease_id=uuid4()), MINUTE)
    assert applied(job, later, LATER).run_at == LATER + MINUTE


def test_the_settler_looks_at_a_charge_after_a_while_and_at_a_release_immediately() -> None:
    job = running()
    done = Completion(job_id=job.id, lease_id=uuid4(), outcome=Payload("1", 1))
    failed = Completion(job_id=job.id, lease_id=uuid4(), outcome=Failure(type="E", message="no", retryable=False))
    assert ending(job, done, settle_after=MINUTE).next_try_at == MINUTE
    assert ending(job, failed, settle_after=MINUTE).next_try_at == NOW
    assert removal(job, JobStatus.CANCELLED, "E", "no").next_try_at == NOW
    free = stored_job(status=JobStatus.RUNNING, billing_status=BillingStatus.NOT_BILLABLE, estimated_cost_cents=0)
    assert ending(free, done, settle_after=MINUTE).next_try_at is None


@pytest.mark.parametrize(
    ("outcome", "digest"),
    [
        (Payload('{"a": 1}', 8), "df412e903c517001"),
        (
            Failure(type="E", message="no", retryable=True, retry_after=timedelta(seconds=1)),
            "53932b267feb7fdd",
        ),
        (Snooze(timedelta(minutes=1)), "e7291d7ca59873f0"),
        (None, "7e781c789a4c226b"),
    ],
)
def test_a_completion_is_recognized_that_an_earlier_release_has_recorded(
    outcome: Payload | Failure | Snooze | None, digest: str
) -> None:
    assert Completion(job_id=uuid4(), lease_id=uuid4(), outcome=outcome).digest.hex() == digest
