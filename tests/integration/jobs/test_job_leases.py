"""RenewLeases, ReturnJobs and completions that lead to another attempt, over gRPC."""

from datetime import UTC, timedelta
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.duration_pb2 import Duration

from innosystem.jobs.v1 import job_pb2, job_type_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from tests.support.rpc.jobs_stack import JobsStack, Lists
from tests.support.rpc.refusals import Refused, Stored, details, fields
from tests.support.until import until_sync

PENDING, SCHEDULED = job_pb2.JOB_STATUS_PENDING, job_pb2.JOB_STATUS_SCHEDULED


def renew(world: JobsStack, lease_ids: list[str], job_ids: list[str], **values: Any) -> pb.RenewLeasesResponse:
    return world.jobs.RenewLeases(
        pb.RenewLeasesRequest(runner_id=str(uuid4()), lease_ids=lease_ids, job_ids=job_ids, **values)
    )


def give_back(world: JobsStack, *returns: pb.JobReturn) -> list[pb.JobReturnResult]:
    return list(world.jobs.ReturnJobs(pb.ReturnJobsRequest(returns=returns)).results)


def failure(job: job_pb2.Job, lease_id: str, **values: Any) -> pb.JobCompletion:
    error = job_pb2.JobError(type="E", message="no", retryable=values.pop("retryable", True))
    return pb.JobCompletion(job_id=job.id, lease_id=lease_id, error=error, **values)


def wait_of(job: job_pb2.Job) -> timedelta:
    """How long a job waits after its last error."""
    return job.run_at.ToDatetime(UTC) - job.error.at.ToDatetime(UTC)


def test_leases_are_renewed_and_the_jobs_that_are_not_are_named_with_the_reason(
    world: JobsStack, stored: Stored
) -> None:
    (kept, lease), (cancelled, other_lease), (ended, ended_lease) = [world.running() for _ in range(3)]
    strange, _ = world.running()
    world.jobs.CancelJob(pb.CancelJobRequest(job_id=cancelled.id))
    world.complete(pb.JobCompletion(job_id=ended.id, lease_id=ended_lease, output_json="1"))
    unknown = str(uuid4())
    before = world.get(kept.id)

    asked = [kept.id, cancelled.id, ended.id, strange.id, unknown]
    response = renew(world, [lease, other_lease, ended_lease], asked, lease=Duration(seconds=600))

    assert {one.job_id: one.reason for one in response.not_renewed} == {
        cancelled.id: pb.LEASE_END_CANCELLED,
        ended.id: pb.LEASE_END_LOST,
        strange.id: pb.LEASE_END_LOST,
        unknown: pb.LEASE_END_LOST,
    }
    [(expires_at,)] = stored.execute("SELECT lease_expires_at FROM jobs WHERE id = %s", kept.id)
    assert response.lease_expires_at.ToDatetime(UTC) == expires_at
    assert expires_at > before.started_at.ToDatetime(UTC) + timedelta(seconds=590)
    assert world.get(kept.id).etag == before.etag


def test_a_renewal_of_nothing_has_no_end(world: JobsStack) -> None:
    response = renew(world, [str(uuid4())], [str(uuid4())])
    assert not response.HasField("lease_expires_at")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"runner_id": "nonsense"}, "runner_id"),
        ({"lease_ids": []}, "lease_ids"),
        ({"job_ids": []}, "job_ids"),
        ({"lease": Duration(nanos=1)}, "lease"),
        ({"lease": Duration(seconds=3601)}, "lease"),
    ],
)
def test_a_renewal_with_a_bad_field_is_refused(
    world: JobsStack, refused: Refused, values: dict[str, Any], field: str
) -> None:
    good = {"runner_id": str(uuid4()), "lease_ids": [str(uuid4())], "job_ids": [str(uuid4())]}
    refused.field(world.jobs.RenewLeases, pb.RenewLeasesRequest(**{**good, **values}), field)


def test_what_is_no_id_is_not_renewed_and_the_others_are(world: JobsStack) -> None:
    job, lease_id = world.running()
    response = renew(world, [lease_id, "nonsense"], [job.id, "nonsense", "x" * 100, "nonsense"])
    assert [(one.job_id, one.reason) for one in response.not_renewed] == [
        ("nonsense", pb.LEASE_END_LOST),
        ("x" * 64, pb.LEASE_END_LOST),
    ]
    assert response.HasField("lease_expires_at")


def test_a_returned_job_waits_again_at_the_head_of_its_queue_and_no_attempt_is_used_up(
    world: JobsStack, lists: Lists
) -> None:
    named = {"job_type": world.job_type(queue="returned").name, "customer_id": world.customer()}
    name = "jobs:returned:p1:pending"
    first = world.job(**named)
    lists.holding(name, [first.id])
    lists.client.delete(lists.prefix + name)
    behind = world.job(**named)
    lease_id = str(uuid4())
    world.claim(first.id, lease_id=lease_id)
    lists.holding(name, [behind.id])

    [result] = give_back(world, pb.JobReturn(job_id=first.id, lease_id=lease_id, reason="the runner stops"))

    assert result.status == PENDING
    assert lists.holding(name, [first.id, behind.id]) == [first.id, behind.id]
    job = world.get(first.id)
    assert (job.status, job.attempt, job.rescue_count) == (PENDING, 0, 0)


def test_a_job_handed_back_for_a_while_is_taken_by_nobody_until_that_is_over(world: JobsStack) -> None:
    job, lease_id = world.running()
    returned = pb.JobReturn(job_id=job.id, lease_id=lease_id, wait=Duration(seconds=60))
    assert [one.status for one in give_back(world, returned, returned)] == [SCHEDULED, SCHEDULED]
    assert not world.claim(job.id, lease_id=str(uuid4())).jobs
    waits = world.get(job.id)
    assert (waits.status, waits.attempt) == (SCHEDULED, 0)
    assert timedelta(0) < waits.run_at.ToDatetime(UTC) - job.queued_at.ToDatetime(UTC) < timedelta(seconds=90)


def test_the_same_return_again_is_answered_and_any_other_is_refused(world: JobsStack, stored: Stored) -> None:
    (job, lease_id), unknown = world.running(), str(uuid4())
    returned = pb.JobReturn(job_id=job.id, lease_id=lease_id)
    assert [one.status for one in give_back(world, returned, returned)] == [PENDING, PENDING]

    with stored.unchanged():
        results = give_back(
            world,
            returned,
            pb.JobReturn(job_id=job.id, lease_id=str(uuid4())),
            pb.JobReturn(job_id=unknown, lease_id=lease_id),
            pb.JobReturn(job_id="nonsense", lease_id=lease_id),
            pb.JobReturn(job_id=unknown, lease_id=lease_id, reason="x" * 201),
        )
        [late] = world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, output_json="1"))

    assert results[0].status == PENDING
    details(results[1].error, "LEASE_LOST")
    details(results[2].error, "JOB_NOT_FOUND")
    assert fields(details(results[3].error, "INVALID_FIELD")) == ["returns[3].job_id"]
    assert fields(details(results[4].error, "INVALID_FIELD")) == ["returns[4].reason"]
    details(late.error, "LEASE_LOST")


def test_a_completed_job_can_not_be_returned(world: JobsStack, stored: Stored) -> None:
    job, lease_id = world.running()
    world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, output_json="1"))
    with stored.unchanged():
        [result] = give_back(world, pb.JobReturn(job_id=job.id, lease_id=lease_id))
    details(result.error, "LEASE_LOST")


def test_a_retryable_failure_with_attempts_left_is_scheduled_by_the_job_types_backoff(
    world: JobsStack, stored: Stored
) -> None:
    policy = job_type_pb2.RetryPolicy(
        initial_backoff=Duration(seconds=100), max_backoff=Duration(seconds=1000), multiplier=3
    )
    job, lease_id = world.running(job_type=world.job_type(max_attempts=3, retry_policy=policy).name)

    [result] = world.complete(failure(job, lease_id))

    assert (result.recorded.status, result.recorded.HasField("charge")) == (SCHEDULED, False)
    scheduled = world.get(job.id)
    assert (scheduled.status, scheduled.attempt) == (SCHEDULED, 1)
    assert scheduled.billing_status == job_pb2.BILLING_STATUS_HELD
    assert (scheduled.error.type, scheduled.error.attempt) == ("E", 1)
    assert timedelta(seconds=80) <= wait_of(scheduled) <= timedelta(seconds=120)
    with stored.unchanged():
        assert world.complete(failure(job, lease_id)) == [result]
        [other] = world.complete(failure(job, lease_id, retryable=False))
    details(other.error, "LEASE_LOST")


def test_a_runner_may_say_how_long_the_next_attempt_waits(world: JobsStack) -> None:
    job, lease_id = world.running(job_type=world.job_type(max_attempts=2).name)
    world.complete(failure(job, lease_id, retry_after=Duration(seconds=12345)))
    assert wait_of(world.get(job.id)) == timedelta(seconds=12345)


def test_an_attempt_after_a_backoff_runs_by_itself_and_the_last_that_fails_is_final(
    world: JobsStack, lists: Lists
) -> None:
    job, lease_id = world.running(job_type=world.job_type(max_attempts=2, queue="again").name)
    lists.client.delete(f"{lists.prefix}jobs:again:p1:pending")
    world.complete(failure(job, lease_id, retry_after=Duration(seconds=0)))

    lists.holding("jobs:again:p1:pending", [job.id])
    lease_id = str(uuid4())
    [claimed] = world.claim(job.id, lease_id=lease_id).jobs
    assert claimed.job.attempt == 2
    [result] = world.complete(failure(job, lease_id))

    assert result.recorded.status == job_pb2.JOB_STATUS_FAILED
    assert world.released(job.id).billing_status == job_pb2.BILLING_STATUS_RELEASED


def test_a_failure_that_is_not_to_be_tried_again_is_final(world: JobsStack) -> None:
    job, lease_id = world.running(job_type=world.job_type(max_attempts=5).name)
    [result] = world.complete(failure(job, lease_id, retryable=False))
    assert result.recorded.status == job_pb2.JOB_STATUS_FAILED


def test_a_snoozed_job_runs_again_without_using_up_its_only_attempt(world: JobsStack, lists: Lists) -> None:
    job, lease_id = world.running(job_type=world.job_type(queue="snoozed").name)
    lists.client.delete(f"{lists.prefix}jobs:snoozed:p1:pending")
    snooze = pb.JobCompletion(job_id=job.id, lease_id=lease_id, snooze=Duration(nanos=500_000_000))

    [result] = world.complete(snooze)

    assert result.recorded.status == SCHEDULED
    assert (world.get(job.id).snooze_count, world.get(job.id).attempt) == (1, 0)
    lists.holding("jobs:snoozed:p1:pending", [job.id])
    [claimed] = world.claim(job.id, lease_id=str(uuid4())).jobs
    assert claimed.job.attempt == 1


def test_a_job_snoozed_too_often_has_failed(world: JobsStack, stored: Stored) -> None:
    job, lease_id = world.running()
    stored.execute("UPDATE jobs SET snooze_count = 100 WHERE id = %s", job.id)
    [result] = world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, snooze=Duration(seconds=1)))
    assert result.recorded.status == job_pb2.JOB_STATUS_FAILED
    assert world.get(job.id).error.type == "SNOOZED_TOO_OFTEN"


def test_waits_of_more_than_a_day_are_refused_by_name(world: JobsStack, stored: Stored) -> None:
    job, lease_id = world.running(job_type=world.job_type(max_attempts=2).name)
    too_long = Duration(seconds=86401)
    with stored.unchanged():
        results = world.complete(
            pb.JobCompletion(job_id=job.id, lease_id=lease_id, snooze=too_long),
            failure(job, lease_id, retry_after=too_long),
            failure(job, lease_id, retry_after=Duration(seconds=-1)),
        )
    named = [fields(details(one.error, "INVALID_FIELD")) for one in results]
    assert named == [["completions[0].snooze"], ["completions[1].retry_after"], ["completions[2].retry_after"]]


def test_what_happens_to_a_job_is_watched_until_it_is_settled(world: JobsStack) -> None:
    job = world.job()
    stream = world.jobs.WatchJob(pb.WatchJobRequest(job_id=job.id), timeout=30)
    seen = [next(stream).job.status]
    lease_id = str(uuid4())
    world.claim(job.id, lease_id=lease_id)
    seen.append(next(stream).job.status)
    world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, output_json="1"))
    last = next(stream).job
    seen.append(last.status)
    assert seen == [PENDING, job_pb2.JOB_STATUS_RUNNING, job_pb2.JOB_STATUS_SUCCEEDED]
    assert (last.billing_status, last.output_json) == (job_pb2.BILLING_STATUS_CHARGE_DUE, "")
    paid = pb.JobSettlement(job_id=job.id, transaction=pb.ChargeTransaction(id=str(uuid4())))
    world.jobs.SettleJobs(pb.SettleJobsRequest(settlements=[paid]))
    assert [one.job.billing_status for one in stream] == [job_pb2.BILLING_STATUS_CHARGED]


def test_a_job_that_is_over_is_answered_once_and_one_that_is_not_there_is_not_found(
    world: JobsStack, refused: Refused
) -> None:
    job = world.job()
    world.jobs.CancelJob(pb.CancelJobRequest(job_id=job.id))
    world.released(job.id)
    states = list(world.jobs.WatchJob(pb.WatchJobRequest(job_id=job.id), timeout=30))
    assert [one.job.status for one in states] == [job_pb2.JOB_STATUS_CANCELLED]

    def watch(request: pb.WatchJobRequest) -> object:
        return list(world.jobs.WatchJob(request, timeout=30))

    refused(watch, pb.WatchJobRequest(job_id=str(uuid4())), "JOB_NOT_FOUND")
    refused.field(watch, pb.WatchJobRequest(job_id="nonsense"), "job_id")


def test_watchers_that_go_away_leave_nothing_behind(world: JobsStack, grpc_servicer: Any) -> None:
    job = world.job()
    streams = [world.jobs.WatchJob(pb.WatchJobRequest(job_id=job.id), timeout=30) for _ in range(20)]
    for stream in streams:
        next(stream)
    for stream in streams:
        stream.cancel()
    watching = grpc_servicer[0].servicer._watching
    until_sync(lambda: not watching._watchers, limit_seconds=10)
