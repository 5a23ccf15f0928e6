"""CancelJob, RetryJob, their batches, pauses and scheduled jobs over gRPC: what is done to jobs from outside."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import grpc
import pytest

from innosystem.jobs.v1 import job_pb2, job_type_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.jobs.v1 import job_type_service_pb2 as types_pb
from tests.integration.jobs.test_job_submission import at
from tests.support.rpc.jobs_stack import JobsStack, Lists
from tests.support.rpc.refusals import Refused, Stored, details, fields
from tests.support.until import until_sync

LIMIT_SECONDS = 10
CANCELLED, FAILED, PENDING = job_pb2.JOB_STATUS_CANCELLED, job_pb2.JOB_STATUS_FAILED, job_pb2.JOB_STATUS_PENDING


def cancel(world: JobsStack, job_id: str, reason: str = "") -> job_pb2.Job:
    return world.jobs.CancelJob(pb.CancelJobRequest(job_id=job_id, reason=reason)).job


def retry(world: JobsStack, job_id: str) -> job_pb2.Job:
    return world.jobs.RetryJob(pb.RetryJobRequest(job_id=job_id)).job


def failed(world: JobsStack, **values: Any) -> job_pb2.Job:
    job, lease_id = world.running(**values)
    error = job_pb2.JobError(type="E", message="no")
    world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, error=error))
    return world.released(job.id)


def stats(world: JobsStack, queue: str) -> list[pb.QueueStats]:
    return list(world.jobs.GetQueueStats(pb.GetQueueStatsRequest(queues=[queue])).queues)


def test_a_waiting_job_is_cancelled_at_once_and_again_it_is_the_same(world: JobsStack, stored: Stored) -> None:
    job = world.job()

    cancelled = cancel(world, job.id, "not needed")

    assert (cancelled.status, cancelled.billing_status) == (CANCELLED, job_pb2.BILLING_STATUS_RELEASE_DUE)
    assert (cancelled.error.type, cancelled.error.message) == ("CANCELLED", "not needed")
    assert cancelled.HasField("completed_at")
    with stored.unchanged():
        assert cancel(world, job.id, "for another reason") == cancelled
    assert not world.claim(job.id, lease_id=str(uuid4())).jobs


def test_a_job_cancelled_without_a_reason_says_by_what(world: JobsStack) -> None:
    assert cancel(world, world.job().id).error.message == "cancelled by request"


def test_the_result_of_a_job_cancelled_while_it_ran_is_refused_and_nothing_is_charged(
    world: JobsStack, stored: Stored
) -> None:
    job, lease_id = world.running()

    assert cancel(world, job.id).status == CANCELLED

    with stored.unchanged():
        [result] = world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, output_json="1"))
        renewal = pb.RenewLeasesRequest(runner_id=str(uuid4()), lease_ids=[lease_id], job_ids=[job.id])
        [ended] = world.jobs.RenewLeases(renewal).not_renewed
    details(result.error, "LEASE_LOST")
    assert (ended.job_id, ended.reason) == (job.id, pb.LEASE_END_CANCELLED)
    assert world.released(job.id).billing_status == job_pb2.BILLING_STATUS_RELEASED
    assert world.wallet(job.customer_id).pending_charges_cents == 0


@pytest.mark.parametrize("end", [JobsStack.succeeded, failed])
def test_a_job_that_is_over_can_not_be_cancelled(world: JobsStack, refused: Refused, end: Any) -> None:
    job = end(world)
    error = refused(world.jobs.CancelJob, pb.CancelJobRequest(job_id=job.id), "JOB_NOT_CANCELLABLE")
    assert error.metadata == {"job_id": job.id, "status": job_pb2.JobStatus.Name(job.status)[11:]}


def test_what_is_not_there_or_can_not_be_is_refused(world: JobsStack, refused: Refused) -> None:
    unknown = str(uuid4())
    refused(world.jobs.CancelJob, pb.CancelJobRequest(job_id=unknown), "JOB_NOT_FOUND")
    refused(world.jobs.RetryJob, pb.RetryJobRequest(job_id=unknown), "JOB_NOT_FOUND")
    refused.field(world.jobs.CancelJob, pb.CancelJobRequest(job_id="nonsense"), "job_id")
    refused.field(world.jobs.CancelJob, pb.CancelJobRequest(job_id=unknown, reason="x" * 1001), "reason")
    refused.field(world.jobs.CancelJob, pb.CancelJobRequest(job_id=unknown, reason="\0"), "reason")
    refused.field(world.jobs.RetryJob, pb.RetryJobRequest(), "job_id")
    refused.field(world.jobs.PauseQueue, pb.PauseQueueRequest(queue="Not A Queue"), "queue")
    refused.field(world.jobs.ResumeQueue, pb.ResumeQueueRequest(), "queue")
    refused(world.job_types.PauseJobType, types_pb.PauseJobTypeRequest(job_type_id=unknown), "JOB_TYPE_NOT_FOUND")
    refused(world.job_types.ResumeJobType, types_pb.ResumeJobTypeRequest(job_type_id=unknown), "JOB_TYPE_NOT_FOUND")


def test_a_failed_job_is_run_again_with_all_its_attempts_at_the_frozen_price(world: JobsStack, lists: Lists) -> None:
    job_type = world.job_type(queue="retried", standard_cost_cents=7)
    job = failed(world, job_type=job_type.name)
    until_sync(lambda: lists.client.delete(f"{lists.prefix}jobs:retried:p1:pending") == 1, limit_seconds=LIMIT_SECONDS)
    world.job_types.UpdateJobType(
        types_pb.UpdateJobTypeRequest(
            job_type=job_type_pb2.JobType(id=job_type.id, standard_cost_cents=9),
            update_mask={"paths": ["standard_cost_cents"]},  # type: ignore[arg-type] # protobuf takes it
        )
    )

    retried = retry(world, job.id)

    assert (retried.status, retried.attempt) == (PENDING, 0)
    assert (retried.billing_status, retried.estimated_cost_cents) == (job_pb2.BILLING_STATUS_HELD, 7)
    assert not retried.HasField("completed_at")
    assert lists.holding("jobs:retried:p1:pending", [job.id]) == [job.id]
    lease_id = str(uuid4())
    [claimed] = world.claim(job.id, lease_id=lease_id).jobs
    assert claimed.job.attempt == 1
    [result] = world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, output_json="1"))
    assert result.recorded.charge.amount_cents == 7


def test_a_job_that_is_not_over_is_answered_as_it_is_when_it_is_to_be_run_again(
    world: JobsStack, stored: Stored
) -> None:
    [waiting, (at_work, _)] = world.job(), world.running()
    with stored.unchanged():
        assert retry(world, waiting.id).status == PENDING
        assert retry(world, at_work.id).status == job_pb2.JOB_STATUS_RUNNING


def test_a_job_that_was_run_again_since_its_retry_count_was_read_is_answered_as_it_is(
    world: JobsStack, stored: Stored
) -> None:
    job = failed(world)
    assert job.retry_count == 0
    asked = pb.RetryJobRequest(job_id=job.id, retry_count=job.retry_count)
    assert world.jobs.RetryJob(asked).job.retry_count == 1
    lease_id = str(uuid4())
    world.claim(job.id, lease_id=lease_id)
    world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, error=job_pb2.JobError(type="E", message="no")))
    with stored.unchanged():
        assert world.jobs.RetryJob(asked).job.status == FAILED
    job = world.released(job.id)
    with stored.unchanged():
        assert world.jobs.RetryJob(asked).job == world.get(job.id, job_pb2.JOB_VIEW_BASIC)
    asked.retry_count = job.retry_count
    assert world.jobs.RetryJob(asked).job.status == PENDING


def test_a_retry_count_that_the_job_has_not_reached_is_refused(world: JobsStack, refused: Refused) -> None:
    job = failed(world)
    refused.field(world.jobs.RetryJob, pb.RetryJobRequest(job_id=job.id, retry_count=1), "retry_count")


def test_a_job_that_succeeded_is_not_run_again(world: JobsStack, refused: Refused) -> None:
    job = world.succeeded()
    error = refused(world.jobs.RetryJob, pb.RetryJobRequest(job_id=job.id), "JOB_NOT_RETRYABLE")
    assert error.metadata == {"job_id": job.id, "status": "SUCCEEDED", "billing_status": "CHARGE_DUE"}


def test_a_batch_by_ids_gives_each_job_its_own_answer(world: JobsStack) -> None:
    waiting, done, unknown = world.job(), world.succeeded(), str(uuid4())
    ids = pb.JobIds(job_ids=[waiting.id, done.id, unknown, waiting.id])

    cancelled = world.jobs.BatchCancelJobs(pb.BatchCancelJobsRequest(ids=ids, reason="all")).results
    world.settle()
    retried = world.jobs.BatchRetryJobs(pb.BatchRetryJobsRequest(ids=ids)).results

    assert [one.WhichOneof("result") for one in cancelled] == ["job", "error", "error", "job"]
    assert [one.WhichOneof("result") for one in retried] == ["job", "error", "error", "job"]
    assert (cancelled[0].job.status, retried[0].job.status) == (CANCELLED, PENDING)
    assert cancelled[0].job == cancelled[3].job
    details(cancelled[1].error, "JOB_NOT_CANCELLABLE")
    details(retried[1].error, "JOB_NOT_RETRYABLE")
    for results in (cancelled, retried):
        details(results[2].error, "JOB_NOT_FOUND")


def test_a_batch_by_filter_takes_the_oldest_that_match_up_to_its_limit_until_there_are_none(world: JobsStack) -> None:
    queue = world.job_type(queue="filtered").name
    jobs = [world.job(job_type=queue, labels={"team": "blue"}).id for _ in range(3)]
    done = world.succeeded(job_type=queue, labels={"team": "blue"})
    wanted = pb.JobFilter(filter='queue = "filtered" AND labels.team = "blue"', limit=2)

    def cancelled() -> list[str]:
        return [one.job.id for one in world.jobs.BatchCancelJobs(pb.BatchCancelJobsRequest(filter=wanted)).results]

    def retried() -> list[str]:
        return [one.job.id for one in world.jobs.BatchRetryJobs(pb.BatchRetryJobsRequest(filter=wanted)).results]

    assert [cancelled(), cancelled(), cancelled()] == [jobs[:2], jobs[2:], []]
    world.settle()
    assert [retried(), retried(), retried()] == [jobs[:2], jobs[2:], []]
    assert {world.get(one).status for one in jobs} == {PENDING}
    assert world.get(done.id).status == job_pb2.JOB_STATUS_SUCCEEDED


def test_a_batch_of_jobs_that_ended_before_a_time_runs_none_again_that_has_failed_since(world: JobsStack) -> None:
    job_type = world.job_type(queue="dead")
    job = failed(world, job_type=job_type.name)
    [until] = [world.get(failed(world, job_type=job_type.name).id).completed_at.ToDatetime(UTC)]
    filter = f'queue = "dead" AND status = FAILED AND completed_at < "{until.isoformat()}"'
    asked = pb.BatchRetryJobsRequest(filter=pb.JobFilter(filter=filter))
    assert [one.job.id for one in world.jobs.BatchRetryJobs(asked).results] == [job.id]
    lease_id = str(uuid4())
    world.claim(job.id, lease_id=lease_id)
    world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, error=job_pb2.JobError(type="E", message="no")))
    world.released(job.id)
    assert not world.jobs.BatchRetryJobs(asked).results
    assert world.get(job.id).status == FAILED


def test_an_id_that_is_none_fails_alone(world: JobsStack) -> None:
    job = world.job()
    ids = pb.JobIds(job_ids=["nonsense", job.id, "x" * 100_000])
    cancelled = world.jobs.BatchCancelJobs(pb.BatchCancelJobsRequest(ids=ids)).results
    world.settle()
    retried = world.jobs.BatchRetryJobs(pb.BatchRetryJobsRequest(ids=ids)).results
    for results in (cancelled, retried):
        assert [one.WhichOneof("result") for one in results] == ["error", "job", "error"]
        assert fields(details(results[0].error, "INVALID_FIELD")) == ["ids.job_ids[0]"]
        assert fields(details(results[2].error, "INVALID_FIELD")) == ["ids.job_ids[2]"]


def test_a_filter_leads_past_the_jobs_that_can_not_be_changed(world: JobsStack) -> None:
    queue = world.job_type(queue="past", standard_cost_cents=100)
    poor, rich = world.customer(cents=100), world.customer()
    refused_ones = []
    for _ in range(4):
        refused_ones.append(world.job(job_type=queue.name, customer_id=poor).id)
        cancel(world, refused_ones[-1])
        world.released(refused_ones[-1])
    good = [world.job(job_type=queue.name, customer_id=rich).id for _ in range(3)]
    for job_id in good:
        cancel(world, job_id)
    world.settle()
    # The poor customer can pay for none of them any more.
    world.job(job_type=queue.name, customer_id=poor)
    request = pb.BatchRetryJobsRequest(filter=pb.JobFilter(filter='queue = "past"', limit=2))

    responses = [world.jobs.BatchRetryJobs(request)]
    assert [details(one.error, "INSUFFICIENT_FUNDS").reason for one in responses[0].results] == [
        "INSUFFICIENT_FUNDS"
    ] * 2
    again = world.jobs.BatchRetryJobs(request)
    assert [one.error.message for one in again.results] == [one.error.message for one in responses[0].results]
    while responses[-1].next_page_token:
        request.filter.page_token = responses[-1].next_page_token
        responses.append(world.jobs.BatchRetryJobs(request))

    results = [one for response in responses for one in response.results]
    assert [one.WhichOneof("result") for one in results] == ["error"] * 4 + ["job"] * 3
    assert [one.job.id for one in results[4:]] == good
    assert {world.get(job_id).status for job_id in good} == {PENDING}
    request.filter.filter = 'queue = "other"'
    with pytest.raises(grpc.RpcError, match="INVALID_ARGUMENT"):
        world.jobs.BatchRetryJobs(request)


def test_batches_that_say_too_little_or_too_much_are_refused(world: JobsStack, refused: Refused) -> None:
    for method, request in (
        (world.jobs.BatchCancelJobs, pb.BatchCancelJobsRequest),
        (world.jobs.BatchRetryJobs, pb.BatchRetryJobsRequest),
    ):
        refused.field(method, request(), "jobs")
        for blank in ("", " ", "\t \n"):
            refused.field(method, request(filter=pb.JobFilter(filter=blank)), "filter.filter")
        refused.field(method, request(filter=pb.JobFilter(filter='queue = "a"', all=True)), "filter.filter")
        refused.field(method, request(filter=pb.JobFilter(filter='queue = "a"', limit=1001)), "filter.limit")
        refused.field(method, request(filter=pb.JobFilter(filter='queue = "a"', limit=-1)), "filter.limit")
        refused(method, request(filter=pb.JobFilter(filter="nonsense =")), "INVALID_FILTER")
        refused(method, request(filter=pb.JobFilter(filter='queue = "a"', page_token="nonsense")), "INVALID_PAGE_TOKEN")
        refused.field(method, request(filter=pb.JobFilter(filter='queue = "a"'), view=job_pb2.JOB_VIEW_FULL), "view")


def test_all_jobs_of_all_customers_are_named_by_saying_so(world: JobsStack) -> None:
    free = world.job_type(standard_cost_cents=0).name
    made = {world.job(job_type=free).id, world.job(job_type=free).id}
    wanted = pb.JobFilter(all=True, limit=1)
    calls: list[tuple[Any, Any]] = [
        (world.jobs.BatchCancelJobs, pb.BatchCancelJobsRequest(filter=wanted)),
        (world.jobs.BatchRetryJobs, pb.BatchRetryJobsRequest(filter=wanted)),
    ]
    for batch, request in calls:
        response = batch(request)
        found = {result.job.id for result in response.results}
        while response.next_page_token:
            request.filter.page_token = response.next_page_token
            response = batch(request)
            found |= {result.job.id for result in response.results}
        assert made <= found


def test_a_paused_queue_withholds_its_jobs_until_it_is_resumed(world: JobsStack, lists: Lists, stored: Stored) -> None:
    named = {"job_type": world.job_type(queue="paused").name, "customer_id": world.customer()}
    before = world.job(**named)
    lists.holding("jobs:paused:p1:pending", [before.id])

    world.jobs.PauseQueue(pb.PauseQueueRequest(queue="paused"))
    world.jobs.PauseQueue(pb.PauseQueueRequest(queue="paused"))

    after = world.job(**named)
    # A runner takes the IDs that are in the list already, and gets nothing for them.
    lists.client.delete(f"{lists.prefix}jobs:paused:p1:pending")
    claimed = world.claim(before.id, after.id, lease_id=str(uuid4()))
    assert (list(claimed.jobs), list(claimed.deferred_job_ids)) == ([], [])
    assert [(one.paused, one.waiting, one.dispatched) for one in stats(world, "paused")] == [
        (True, 0, 0),
        (True, 2, 0),
        (True, 0, 0),
    ]
    with stored.unchanged():
        assert not world.claim(before.id, after.id, lease_id=str(uuid4())).jobs

    world.jobs.ResumeQueue(pb.ResumeQueueRequest(queue="paused"))

    assert sorted(lists.holding("jobs:paused:p1:pending", [before.id, after.id])) == sorted([before.id, after.id])
    assert [one.paused for one in stats(world, "paused")] == [False, False, False]
    assert len(world.claim(before.id, after.id, lease_id=str(uuid4())).jobs) == 2


def test_a_paused_queue_is_shown_although_it_has_no_jobs(world: JobsStack) -> None:
    world.jobs.PauseQueue(pb.PauseQueueRequest(queue="no-jobs"))
    every = {one.queue: one.paused for one in world.jobs.GetQueueStats(pb.GetQueueStatsRequest()).queues}
    assert every["no-jobs"] is True
    world.jobs.ResumeQueue(pb.ResumeQueueRequest(queue="no-jobs"))
    every = {one.queue: one.paused for one in world.jobs.GetQueueStats(pb.GetQueueStatsRequest()).queues}
    assert "no-jobs" not in every


def test_a_paused_job_type_withholds_its_jobs_and_no_others_until_it_is_resumed(world: JobsStack, lists: Lists) -> None:
    paused, other = world.job_type(queue="types"), world.job_type(queue="types")
    world.job_types.PauseJobType(types_pb.PauseJobTypeRequest(job_type_id=paused.id))
    again = world.job_types.PauseJobType(types_pb.PauseJobTypeRequest(job_type_id=paused.id)).job_type
    assert again.paused
    withheld, running = world.job(job_type=paused.name), world.job(job_type=other.name)

    assert lists.holding("jobs:types:p1:pending", [running.id]) == [running.id]
    claimed = world.claim(withheld.id, running.id, lease_id=str(uuid4()))
    assert [one.job.id for one in claimed.jobs] == [running.id]
    assert [one.paused for one in stats(world, "types")] == [False, False, False]

    resumed = world.job_types.ResumeJobType(types_pb.ResumeJobTypeRequest(job_type_id=paused.id)).job_type
    assert not resumed.paused
    lists.holding("jobs:types:p1:pending", [running.id, withheld.id])
    assert len(world.claim(withheld.id, lease_id=str(uuid4())).jobs) == 1


def test_a_job_for_later_is_scheduled_and_handed_over_when_its_time_has_come(world: JobsStack, lists: Lists) -> None:
    job_type = world.job_type(queue="later")
    run_at = datetime.now(UTC) + timedelta(seconds=1.5)
    job = world.job(job_type=job_type.name, run_at=at(run_at))
    much_later = world.job(job_type=job_type.name, run_at=at(run_at + timedelta(days=1)))

    assert (job.status, job.run_at.ToDatetime(UTC)) == (job_pb2.JOB_STATUS_SCHEDULED, run_at)
    assert job.expires_at.ToDatetime(UTC) == run_at + timedelta(days=7)
    assert not world.claim(job.id, lease_id=str(uuid4())).jobs

    assert lists.holding("jobs:later:p1:pending", [job.id]) == [job.id]
    released = world.get(job.id)
    assert released.status == PENDING
    assert released.queued_at.ToDatetime(UTC) >= run_at
    assert world.get(much_later.id).status == job_pb2.JOB_STATUS_SCHEDULED
    assert cancel(world, much_later.id).status == CANCELLED


def test_a_job_for_a_time_that_has_passed_waits_at_once(world: JobsStack) -> None:
    assert world.job(run_at=at(datetime.now(UTC) - timedelta(days=1))).status == PENDING


def test_a_job_may_be_scheduled_within_ninety_days_and_has_to_be_so_before_it_expires(
    world: JobsStack, refused: Refused
) -> None:
    now = datetime.now(UTC)
    assert world.job(run_at=at(now + timedelta(days=89))).status == job_pb2.JOB_STATUS_SCHEDULED
    refused.field(world.jobs.CreateJob, world.request(run_at=at(now + timedelta(days=91))), "run_at")
    run_at = at(now + timedelta(hours=2))
    asked = world.request(run_at=run_at, expires_at=at(now + timedelta(hours=1)))
    refused.field(world.jobs.CreateJob, asked, "expires_at")
