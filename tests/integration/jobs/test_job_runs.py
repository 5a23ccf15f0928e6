"""ClaimJobs, CompleteJobs, SettleJobs and GetQueueStats over gRPC: what runners do, under leases."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.duration_pb2 import Duration

from innosystem.jobs.v1 import job_pb2, job_type_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from tests.integration.jobs.test_job_submission import BAD_JSON, MEBIBYTE, at
from tests.support.rpc.jobs_stack import JobsStack
from tests.support.rpc.refusals import Refused, Stored, details, fields


def success(job: job_pb2.Job, lease_id: str, output_json: str = "1") -> pb.JobCompletion:
    return pb.JobCompletion(job_id=job.id, lease_id=lease_id, output_json=output_json)


def failure(job: job_pb2.Job, lease_id: str, **values: Any) -> pb.JobCompletion:
    return pb.JobCompletion(job_id=job.id, lease_id=lease_id, error=job_pb2.JobError(**values))


def charged(job: job_pb2.Job, transaction_id: str) -> pb.JobSettlement:
    return pb.JobSettlement(job_id=job.id, transaction=pb.ChargeTransaction(id=transaction_id))


def declined(job: job_pb2.Job, reason: str = "INSUFFICIENT_FUNDS") -> pb.JobSettlement:
    return pb.JobSettlement(job_id=job.id, declined=pb.ChargeDeclined(reason=reason))


def settle(world: JobsStack, *settlements: pb.JobSettlement) -> list[pb.JobSettlementResult]:
    return list(world.jobs.SettleJobs(pb.SettleJobsRequest(settlements=settlements)).results)


def statuses(world: JobsStack, *settlements: pb.JobSettlement) -> list[str]:
    names = [job_pb2.BillingStatus.Name(one.billing_status) for one in settle(world, *settlements)]
    return [name.removeprefix("BILLING_STATUS_") for name in names]


def test_a_claimed_job_runs_and_comes_with_all_it_takes(world: JobsStack) -> None:
    job_type = world.job_type(processing_logic_id="my.handler", timeout=Duration(seconds=9))
    job = world.job(job_type=job_type.name, input_json='{"n": 1}')

    [claimed] = world.claim(job.id, lease_id=str(uuid4())).jobs

    assert (claimed.processing_logic_id, claimed.processor_type) == ("my.handler", job_type_pb2.PROCESSOR_TYPE_ASYNC)
    assert (claimed.timeout.seconds, claimed.job.input_json) == (9, '{"n": 1}')
    assert (claimed.job.status, claimed.job.attempt) == (job_pb2.JOB_STATUS_RUNNING, 1)
    assert (claimed.lease_expires_at.ToDatetime() - claimed.job.started_at.ToDatetime()).total_seconds() == 60
    assert claimed.request_id
    shown = world.get(job.id)
    assert shown.runner_id
    shown.ClearField("runner_id")
    assert shown == claimed.job


def test_a_claim_is_answered_in_its_order_and_again_the_same_under_its_lease(world: JobsStack, stored: Stored) -> None:
    job_ids = [world.job().id for _ in range(4)]
    lease_id = str(uuid4())
    first = world.claim(*job_ids[::-1], lease_id=lease_id)
    with stored.unchanged():
        again = world.claim(*job_ids[::-1], lease_id=lease_id)

    assert [one.job.id for one in first.jobs] == job_ids[::-1]
    assert again == first


def test_what_can_not_be_claimed_is_left_out(world: JobsStack, stored: Stored) -> None:
    waiting, (running, _), done = world.job(), world.running(), world.succeeded()
    asked = ["nonsense", running.id, str(uuid4()), waiting.id, done.id, waiting.id]

    claimed = world.claim(*asked, lease_id=str(uuid4()))

    assert [one.job.id for one in claimed.jobs] == [waiting.id]
    with stored.unchanged():
        assert not world.claim(*asked, lease_id=str(uuid4())).jobs


def test_a_job_of_a_type_that_is_not_understood_is_left_waiting_and_its_neighbours_run(
    world: JobsStack, stored: Stored
) -> None:
    corrupt = world.job_type()
    job, neighbour = world.job(job_type=corrupt.name), world.job()
    stored.execute("UPDATE job_types SET processor_type = 'QUANTUM' WHERE id = %s", corrupt.id)

    claimed = world.claim(job.id, neighbour.id, lease_id=str(uuid4()))

    assert [one.job.id for one in claimed.jobs] == [neighbour.id]
    stored.execute("UPDATE job_types SET processor_type = 'ASYNC' WHERE id = %s", corrupt.id)
    assert world.get(job.id).status == job_pb2.JOB_STATUS_PENDING


def test_jobs_beyond_four_megabytes_are_deferred_and_not_claimed(world: JobsStack) -> None:
    large = '"' + "x" * (MEBIBYTE - 100) + '"'
    named = {"customer_id": world.customer(), "job_type": world.job_type().name}
    job_ids = [world.job(input_json=large, **named).id for _ in range(9)]

    claimed = world.claim(*job_ids, lease_id=str(uuid4()))

    assert [one.job.id for one in claimed.jobs] == job_ids[:3]
    assert list(claimed.deferred_job_ids) == job_ids[3:]
    assert world.get(job_ids[8]).status == job_pb2.JOB_STATUS_PENDING


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"handlers": ["x" * 201]}, "handlers[0]"),
        ({"queues": ["x" * 51]}, "queues[0]"),
        ({"runner_id": "nonsense"}, "runner_id"),
        ({"lease_id": ""}, "lease_id"),
        ({"lease": Duration(nanos=1)}, "lease"),
        ({"lease": Duration(seconds=3601)}, "lease"),
    ],
)
def test_a_claim_with_a_bad_field_is_refused(
    world: JobsStack, refused: Refused, values: dict[str, Any], field: str
) -> None:
    good = {"job_ids": [str(uuid4())], "runner_id": str(uuid4()), "lease_id": str(uuid4())}
    refused.field(world.jobs.ClaimJobs, pb.ClaimJobsRequest(**{**good, **values}), field)


def test_batches_of_runners_may_have_a_thousand_items_and_no_more(world: JobsStack, refused: Refused) -> None:
    ids = [str(uuid4()) for _ in range(1001)]
    claim = pb.ClaimJobsRequest(job_ids=ids, runner_id=ids[0], lease_id=ids[0])
    completions = [pb.JobCompletion(job_id=one, lease_id=one, output_json="1") for one in ids]
    settlements = [pb.JobSettlement(job_id=one, transaction=pb.ChargeTransaction(id=one)) for one in ids]

    refused(world.jobs.ClaimJobs, claim, "BATCH_TOO_LARGE")
    refused(world.jobs.CompleteJobs, pb.CompleteJobsRequest(completions=completions), "BATCH_TOO_LARGE")
    refused(world.jobs.SettleJobs, pb.SettleJobsRequest(settlements=settlements), "BATCH_TOO_LARGE")
    results = world.complete(*completions[:1000])
    assert len(results) == 1000
    details(results[999].error, "JOB_NOT_FOUND")


def test_success_and_the_charge_that_is_due_are_recorded_together(world: JobsStack) -> None:
    job, lease_id = world.running()

    [result] = world.complete(success(job, lease_id, '{"b": 2, "a": 1}'))

    assert result.recorded.status == job_pb2.JOB_STATUS_SUCCEEDED
    charge = result.recorded.charge
    assert (charge.customer_id, charge.currency, charge.amount_cents) == (job.customer_id, "EUR", 5)
    assert (charge.idempotency_key, charge.job_id, charge.hold_id) == (f"job:{job.id}", job.id, job.hold_id)
    done = world.get(job.id)
    assert (done.status, done.billing_status) == (job_pb2.JOB_STATUS_SUCCEEDED, job_pb2.BILLING_STATUS_CHARGE_DUE)
    assert (done.output_json, done.cost_cents) == ('{"a": 1, "b": 2}', 5)
    assert done.completed_at.ToDatetime() >= done.started_at.ToDatetime()


def test_a_free_job_ends_without_a_charge(world: JobsStack) -> None:
    job, lease_id = world.running(job_type=world.job_type(standard_cost_cents=0).name)

    [result] = world.complete(success(job, lease_id, ""))

    assert not result.recorded.HasField("charge")
    done = world.get(job.id)
    assert (done.cost_cents, done.output_json) == (0, "null")
    assert done.billing_status == job_pb2.BILLING_STATUS_NOT_BILLABLE


def test_failure_is_recorded_with_its_error_and_nothing_is_charged(world: JobsStack) -> None:
    job, lease_id = world.running()

    [result] = world.complete(failure(job, lease_id, type="ValueError", message="a\0b", retryable=True))

    assert result.recorded.status == job_pb2.JOB_STATUS_FAILED
    assert not result.recorded.HasField("charge")
    done = world.get(job.id)
    assert (done.status, done.billing_status) == (job_pb2.JOB_STATUS_FAILED, job_pb2.BILLING_STATUS_RELEASE_DUE)
    assert (done.error.type, done.error.message, done.error.attempt) == ("ValueError", "a�b", 1)
    assert done.error.retryable
    assert (done.output_json, done.HasField("cost_cents")) == ("", False)


def test_what_an_exception_says_is_kept_up_to_a_length(world: JobsStack) -> None:
    job, lease_id = world.running()
    world.complete(failure(job, lease_id, type="T" * 300, message="m" * 20_000))

    error = world.get(job.id).error
    assert (len(error.type), len(error.message)) == (200, 10_000)


def test_the_same_completion_again_gets_the_same_answer_and_any_other_is_refused(
    world: JobsStack, stored: Stored
) -> None:
    job, lease_id = world.running()
    [first] = world.complete(success(job, lease_id))

    with stored.unchanged():
        [again] = world.complete(success(job, lease_id))
        others = world.complete(
            success(job, lease_id, "2"), success(job, str(uuid4())), failure(job, lease_id, type="E")
        )

    assert again == first
    assert [details(one.error, "LEASE_LOST").metadata for one in others] == [{"job_id": job.id}] * 3


def test_a_job_that_does_not_run_can_not_be_completed(world: JobsStack, stored: Stored) -> None:
    job = world.job()
    nobody = job_pb2.Job(id=str(uuid4()))
    with stored.unchanged():
        waiting, missing = world.complete(success(job, str(uuid4())), success(nobody, str(uuid4())))

    details(waiting.error, "LEASE_LOST")
    assert details(missing.error, "JOB_NOT_FOUND").metadata == {"job_id": nobody.id}


def test_an_output_that_can_not_be_stored_is_refused_and_its_neighbours_are_recorded(world: JobsStack) -> None:
    bad = [*((text, "INVALID_OUTPUT_JSON") for text in BAD_JSON), ('"' + "x" * MEBIBYTE + '"', "OUTPUT_TOO_LARGE")]
    named = {"customer_id": world.customer(), "job_type": world.job_type().name}
    runs = [world.running(**named) for _ in range(2 * len(bad))]
    outputs = [text for one, _ in bad for text in (one, "1")]
    completions = [success(job, lease_id, text) for (job, lease_id), text in zip(runs, outputs, strict=True)]

    results = world.complete(*completions)

    for result, (_, reason) in zip(results[::2], bad, strict=True):
        details(result.error, reason)
    for (job, _), result in zip(runs[1::2], results[1::2], strict=True):
        assert result.recorded.status == world.get(job.id).status == job_pb2.JOB_STATUS_SUCCEEDED
    # What was refused still runs under its lease, so that the runner can report a failure instead.
    reported = world.complete(*(failure(job, lease_id, type="INVALID_OUTPUT") for job, lease_id in runs[::2]))
    assert {one.recorded.status for one in reported} == {job_pb2.JOB_STATUS_FAILED}


def test_bad_items_of_completions_and_settlements_are_named_by_their_place(world: JobsStack, stored: Stored) -> None:
    good_id = str(uuid4())
    with stored.unchanged():
        done = world.complete(
            pb.JobCompletion(job_id="nonsense", lease_id=good_id, output_json="1"),
            pb.JobCompletion(job_id=good_id, lease_id="", output_json="1"),
            pb.JobCompletion(job_id=good_id, lease_id=good_id),
        )
        settled = settle(
            world,
            pb.JobSettlement(job_id="nonsense", transaction=pb.ChargeTransaction(id=good_id)),
            pb.JobSettlement(job_id=good_id, transaction=pb.ChargeTransaction(id="nonsense")),
            pb.JobSettlement(job_id=good_id, declined=pb.ChargeDeclined(reason="poor")),
            pb.JobSettlement(job_id=good_id),
            pb.JobSettlement(job_id=good_id, transaction=pb.ChargeTransaction(id=good_id)),
        )

    def named(result: Any) -> list[str]:
        return fields(details(result.error, "INVALID_FIELD"))

    assert [named(one) for one in done] == [
        ["completions[0].job_id"],
        ["completions[1].lease_id"],
        ["completions[2].outcome"],
    ]
    assert [named(one) for one in settled[:4]] == [
        ["settlements[0].job_id"],
        ["settlements[1].transaction.id"],
        ["settlements[2].declined.reason"],
        ["settlements[3].outcome"],
    ]
    details(settled[4].error, "JOB_NOT_FOUND")


def test_a_charge_that_was_made_is_recorded_with_its_transaction(world: JobsStack, stored: Stored) -> None:
    job, transaction_id = world.succeeded(), str(uuid4())

    assert statuses(world, charged(job, transaction_id)) == ["CHARGED"]

    assert world.get(job.id).transaction_id == transaction_id
    with stored.unchanged():
        assert statuses(world, charged(job, transaction_id), declined(job)) == ["CHARGED", "CHARGED"]


def test_a_declined_charge_is_visible_and_may_be_made_later(world: JobsStack) -> None:
    job = world.succeeded()

    assert statuses(world, declined(job)) == ["DECLINED"]
    assert world.get(job.id).billing_status == job_pb2.BILLING_STATUS_DECLINED
    assert statuses(world, charged(job, str(uuid4()))) == ["CHARGED"]


def test_a_refusal_that_no_money_cures_blocks_the_charge(world: JobsStack) -> None:
    assert statuses(world, declined(world.succeeded(), "WALLET_NOT_FOUND")) == ["CHARGE_BLOCKED"]


def test_a_job_that_owes_nothing_is_left_as_it_is(world: JobsStack, stored: Stored) -> None:
    waiting, (running, _) = world.job(), world.running()
    with stored.unchanged():
        assert statuses(world, charged(waiting, str(uuid4())), declined(running)) == ["HELD", "HELD"]


def test_the_queues_are_counted_by_priority(world: JobsStack) -> None:
    queue = "counted"
    named = {"customer_id": world.customer(), "job_type": world.job_type(queue=queue).name}
    for _ in range(3):
        world.job(**named, priority=job_type_pb2.PRIORITY_HIGH)
    world.running(**named)
    world.succeeded(**named, priority=job_type_pb2.PRIORITY_LOW)
    world.job(**named, priority=job_type_pb2.PRIORITY_LOW, run_at=at(datetime.now(UTC) + timedelta(hours=1)))

    counted = list(world.jobs.GetQueueStats(pb.GetQueueStatsRequest(queues=[queue])).queues)

    assert [(one.queue, one.priority) for one in counted] == [(queue, priority) for priority in (1, 2, 3)]
    assert [(one.waiting, one.running, one.scheduled) for one in counted] == [(3, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert [one.HasField("oldest_age") for one in counted] == [True, False, False]
    assert [round(one.submitted_per_second * 60) for one in counted] == [3, 1, 2]
    assert [round(one.completed_per_second * 60) for one in counted] == [0, 0, 1]
    every = world.jobs.GetQueueStats(pb.GetQueueStatsRequest()).queues
    assert queue in {one.queue for one in every}


def test_stats_of_a_queue_that_can_not_be_are_refused(world: JobsStack, refused: Refused) -> None:
    refused.field(world.jobs.GetQueueStats, pb.GetQueueStatsRequest(queues=["ok", "Not A Queue"]), "queues[1]")
