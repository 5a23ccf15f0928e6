"""How jobs are counted for Prometheus."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY

from services.jobs import metrics
from services.jobs.metrics import JobTypeNames, count_changed, count_claimed, count_submitted
from services.jobs.rules.entities import Job, JobStatus
from services.jobs.rules.job_types import Priority
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.transitions.changes import Change, Failure
from services.jobs.rules.transitions.completion import Completion, Snooze, ending
from services.jobs.rules.transitions.control import removal
from tests.support.jobs_examples import stored_job

MINUTE = timedelta(minutes=1)
OF_TYPE = {"queue": "counted", "job_type": "greet"}


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobTypeNames]:
    names = JobTypeNames()
    monkeypatch.setattr(metrics, "JOB_TYPE_NAMES", names)
    yield names
    for metric in (metrics.SUBMITTED, metrics.ENDED, metrics.FAILED_RUNS, metrics.RUN_SECONDS):
        metric.clear()
    for metric in (metrics.WAIT_SECONDS, metrics.LIFETIME_SECONDS):
        metric.clear()


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"innosystem_jobs_{name}", labels)


def running(names: JobTypeNames, **values: Any) -> Job:
    """A job of the type `greet` that was accepted two minutes ago and has run for one."""
    now = datetime.now(UTC)
    job = replace(
        stored_job(),
        status=JobStatus.RUNNING,
        queue="counted",
        created_at=now - 2 * MINUTE,
        queued_at=now - 2 * MINUTE,
        started_at=now - MINUTE,
        attempt=1,
        max_attempts=3,
        lease_id=uuid4(),
        **values,
    )
    names.know({job.job_type_id: "greet"})
    return job


def end(job: Job, outcome: Payload | Failure | Snooze) -> Change:
    assert job.lease_id is not None
    completion = Completion(job_id=job.id, lease_id=job.lease_id, outcome=outcome)
    return ending(job, completion, settle_after=MINUTE)


def test_a_failed_run_is_counted_whether_another_attempt_follows_or_not(names: JobTypeNames) -> None:
    for retryable in (True, False):
        job = running(names)
        count_changed({job.id: job}, [end(job, Failure(type="X", message="x", retryable=retryable))])

    assert value("failed_runs_total", **OF_TYPE) == 2
    assert value("run_seconds_count", **OF_TYPE) == 2
    assert value("ended_total", **OF_TYPE, status="FAILED") == 1
    assert value("lifetime_seconds_sum", queue="counted", status="FAILED") == pytest.approx(120, abs=5)
    assert value("run_seconds_sum", **OF_TYPE) == pytest.approx(120, abs=5)


def test_a_snoozed_run_is_neither_failed_nor_final(names: JobTypeNames) -> None:
    job = running(names)

    count_changed({job.id: job}, [end(job, Snooze(MINUTE))])

    assert value("run_seconds_count", **OF_TYPE) == 1
    assert value("failed_runs_total", **OF_TYPE) is None
    assert value("ended_total", **OF_TYPE, status="SCHEDULED") is None


def test_a_cancelled_job_is_final_and_no_failed_run(names: JobTypeNames) -> None:
    job = running(names)

    count_changed({job.id: job}, [removal(job, JobStatus.CANCELLED, "CANCELLED", "by request")])

    assert value("ended_total", **OF_TYPE, status="CANCELLED") == 1
    assert value("failed_runs_total", **OF_TYPE) is None


def test_a_wait_is_from_when_a_job_was_due_until_its_claim(names: JobTypeNames) -> None:
    job = running(names, priority=Priority.HIGH)

    count_claimed([job])

    assert value("wait_seconds_sum", queue="counted", priority="HIGH") == pytest.approx(60)


def test_jobs_of_an_unknown_type_are_counted_as_other_and_the_type_is_asked_for(names: JobTypeNames) -> None:
    job = replace(stored_job(), queue="counted")

    count_submitted([job, job], {})

    assert value("submitted_total", queue="counted", job_type="other") == 2
    assert names.missing == {job.job_type_id}


def test_the_number_of_names_and_so_of_time_series_is_bounded() -> None:
    names = JobTypeNames(size_max=2)
    types = [uuid4() for _ in range(3)]

    names.know({one: f"type-{at}" for at, one in enumerate(types)})

    assert [names(one) for one in types] == ["type-0", "type-1", "other"]
    assert names.missing == set()
