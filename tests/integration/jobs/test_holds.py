"""Jobs and their holds, on the real services of jobs and wallets: no money, no job; and what a crash leaves behind.

A hold that is there before its job is what a service leaves behind that died between the two.
"""

from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest

from innosystem.jobs.v1 import job_pb2, job_type_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.jobs.v1 import job_type_service_pb2 as types_pb
from innosystem.wallets.v1 import wallet_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as wallets_pb
from services.jobs.rules.holds import Reservation
from tests.support.rpc.jobs_stack import JobsStack, WalletsServer
from tests.support.rpc.refusals import Refused, Stored, details, reason_of
from tests.support.until import until_sync

ACTIVE, CAPTURED, RELEASED = (
    wallet_pb2.HOLD_STATE_ACTIVE,
    wallet_pb2.HOLD_STATE_CAPTURED,
    wallet_pb2.HOLD_STATE_RELEASED,
)
FAILED = job_pb2.JobError(type="E", message="no")


def left_behind(world: JobsStack, request: pb.CreateJobRequest, cents: int = 5) -> str:
    """Places the hold of a submission whose job is never stored."""
    wanted = Reservation(
        job_id=UUID(request.job_id), customer_id=UUID(request.customer_id), currency="EUR", amount_cents=cents
    )
    world.wallets.PlaceHold(
        wallets_pb.PlaceHoldRequest(
            hold_id=str(wanted.hold_id),
            job_id=request.job_id,
            customer_id=request.customer_id,
            currency="EUR",
            amount_cents=cents,
        )
    )
    return str(wanted.hold_id)


def update(world: JobsStack, job_type: job_type_pb2.JobType, **values: Any) -> None:
    changed = job_type_pb2.JobType(id=job_type.id, **values)
    mask = {"paths": list(values)}
    world.job_types.UpdateJobType(types_pb.UpdateJobTypeRequest(job_type=changed, update_mask=mask))  # type: ignore[arg-type] # protobuf takes it


def charge(world: JobsStack, job: job_pb2.Job) -> wallets_pb.DeductResponse:
    return world.wallets.Deduct(
        wallets_pb.DeductRequest(
            customer_id=job.customer_id,
            currency=job.currency,
            amount_cents=job.cost_cents,
            idempotency_key=f"job:{job.id}",
            hold_id=job.hold_id,
            job_id=job.id,
        )
    )


def pending(world: JobsStack, customer_id: str) -> int:
    return world.wallet(customer_id).pending_charges_cents


def failed(world: JobsStack, **values: Any) -> job_pb2.Job:
    job, lease_id = world.running(**values)
    world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, error=FAILED))
    return world.released(job.id)


def test_an_accepted_job_has_its_price_reserved_and_its_charge_takes_it(world: JobsStack) -> None:
    customer_id = world.customer(cents=12)
    job = world.succeeded(customer_id=customer_id)
    hold = world.hold(job.hold_id)
    assert (hold.state, hold.job_id, hold.amount_cents) == (ACTIVE, job.id, 5)
    assert pending(world, customer_id) == 5

    charge(world, job)

    assert world.hold(job.hold_id).state == CAPTURED
    wallet = world.wallet(customer_id)
    assert (wallet.current_balance_cents, wallet.pending_charges_cents) == (7, 0)


def test_a_job_that_can_not_be_paid_is_refused_and_nothing_is_stored(world: JobsStack, refused: Refused) -> None:
    request = world.request(customer_id=world.customer(cents=4))
    error = refused(world.jobs.CreateJob, request, "INSUFFICIENT_FUNDS")
    assert error.metadata == {"available_cents": "4", "required_cents": "5", "currency": "EUR"}
    assert "the wallet has to be credited" in error.message
    assert pending(world, request.customer_id) == 0


def test_a_refused_submission_is_accepted_under_the_same_id_when_there_is_money(
    world: JobsStack, refused: Refused
) -> None:
    request = world.request(customer_id=world.customer(cents=0))
    refused(world.jobs.CreateJob, request, "INSUFFICIENT_FUNDS")
    world.credit(request.customer_id, 5)
    response = world.jobs.CreateJob(request)
    assert (response.replayed, response.job.billing_status) == (False, job_pb2.BILLING_STATUS_HELD)


def test_a_customer_without_a_wallet_in_the_currency_is_told_which_one_to_make(
    world: JobsStack, refused: Refused
) -> None:
    job_type = world.job_type(currency="CHF")
    request = world.request(job_type=job_type.name)
    error = refused(world.jobs.CreateJob, request, "NO_WALLET_IN_CURRENCY")
    assert error.metadata == {"customer_id": request.customer_id, "currency": "CHF"}


def test_a_free_job_needs_no_wallet_and_no_wallets_service(world: JobsStack, wallets_server: WalletsServer) -> None:
    request = world.request(job_type=world.job_type(standard_cost_cents=0).name)
    wallets_server.server.stop()
    try:
        job = world.jobs.CreateJob(request).job
    finally:
        wallets_server.server.start()
    assert (job.billing_status, job.hold_id) == (job_pb2.BILLING_STATUS_NOT_BILLABLE, "")


def test_in_a_batch_money_is_reserved_in_order_as_far_as_it_goes(world: JobsStack) -> None:
    named = {"customer_id": world.customer(cents=11), "job_type": world.job_type().name}
    requests = [world.request(**named) for _ in range(3)]
    results = world.jobs.BatchCreateJobs(pb.BatchCreateJobsRequest(requests=[*requests, requests[0]])).results
    assert [one.WhichOneof("result") for one in results] == ["response", "response", "error", "response"]
    assert details(results[2].error, "INSUFFICIENT_FUNDS").metadata["available_cents"] == "1"
    assert results[3].response.replayed
    assert pending(world, named["customer_id"]) == 10


def test_while_the_wallets_service_is_away_priced_jobs_are_refused_and_known_ones_answered(
    world: JobsStack, refused: Refused, stored: Stored, wallets_server: WalletsServer
) -> None:
    known, fresh = world.request(), world.request()
    world.jobs.CreateJob(known)
    wallets_server.server.stop()
    try:
        error = refused(world.jobs.CreateJob, fresh, "DEPENDENCY_UNAVAILABLE")
        with stored.unchanged():
            assert world.jobs.CreateJob(known).replayed
    finally:
        wallets_server.server.start()
    assert error.metadata == {"dependency": "wallets"}
    assert error.retry_after_seconds == 0.5


def test_a_repeated_submission_goes_on_with_the_hold_that_a_crash_left_although_the_wallet_is_empty_now(
    world: JobsStack,
) -> None:
    request = world.request(customer_id=world.customer(cents=5))
    hold_id = left_behind(world, request)
    job = world.jobs.CreateJob(request).job
    assert (job.hold_id, job.billing_status) == (hold_id, job_pb2.BILLING_STATUS_HELD)
    assert pending(world, request.customer_id) == 5


@pytest.mark.parametrize("price", [3, 50])
def test_a_repeated_submission_costs_what_was_reserved_although_the_price_has_changed(
    world: JobsStack, price: int
) -> None:
    job_type = world.job_type()
    request = world.request(customer_id=world.customer(cents=5), job_type=job_type.name)
    hold_id = left_behind(world, request)
    update(world, job_type, standard_cost_cents=price)

    job, lease_id = world.jobs.CreateJob(request).job, str(uuid4())

    assert (job.hold_id, job.estimated_cost_cents) == (hold_id, 5)
    world.claim(job.id, lease_id=lease_id)
    [result] = world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, output_json="1"))
    assert result.recorded.charge.amount_cents == 5


def test_a_repeated_submission_does_not_cost_more_than_its_caller_agrees_to_although_more_was_reserved(
    world: JobsStack,
) -> None:
    job_type = world.job_type()
    request = world.request(job_type=job_type.name, max_cost_cents=5)
    first = left_behind(world, request)
    update(world, job_type, standard_cost_cents=2)
    request.max_cost_cents = 2

    job = world.jobs.CreateJob(request).job

    assert job.estimated_cost_cents == 2
    assert world.hold(job.hold_id).amount_cents == 2
    world.audit()
    assert world.hold(first).state == RELEASED
    assert pending(world, request.customer_id) == 2


def test_a_job_that_was_charged_without_its_hold_is_settled_all_the_same_and_its_money_is_free(
    world: JobsStack,
) -> None:
    job = world.succeeded(customer_id=world.customer(cents=12))
    deduction = wallets_pb.DeductRequest(
        customer_id=job.customer_id, currency="EUR", amount_cents=5, idempotency_key=f"job:{job.id}", job_id=job.id
    )
    by_hand = world.wallets.Deduct(deduction).transaction
    again = charge(world, job)
    assert (again.replayed, again.transaction) == (True, by_hand)
    wallet = world.wallet(job.customer_id)
    assert (wallet.current_balance_cents, wallet.pending_charges_cents) == (7, 0)
    assert world.hold(job.hold_id).state == RELEASED


def test_a_job_that_is_settled_with_a_transaction_that_does_not_exist_is_charged_all_the_same(world: JobsStack) -> None:
    job = world.succeeded(customer_id=world.customer(cents=9))
    # The hold has been looked at, as it is where a job waits for long.
    world.audit()
    invented = pb.ChargeTransaction(id=str(uuid4()))
    world.jobs.SettleJobs(pb.SettleJobsRequest(settlements=[pb.JobSettlement(job_id=job.id, transaction=invented)]))
    assert world.get(job.id).billing_status == job_pb2.BILLING_STATUS_CHARGED

    # One round goes through the older holds to their end, page by page, and the next begins anew.
    until_sync(
        lambda: world.audit() or world.get(job.id).billing_status == job_pb2.BILLING_STATUS_CHARGE_DUE, limit_seconds=10
    )
    world.settle()

    charged = world.get(job.id)
    assert charged.billing_status == job_pb2.BILLING_STATUS_CHARGED
    assert charged.transaction_id != invented.id
    assert world.hold(job.hold_id).state == wallet_pb2.HOLD_STATE_CAPTURED
    wallet = world.wallet(job.customer_id)
    assert (wallet.current_balance_cents, wallet.pending_charges_cents) == (4, 0)


def test_a_repeated_submission_of_a_type_that_is_disabled_by_now_is_refused_and_the_hold_freed_later(
    world: JobsStack, refused: Refused
) -> None:
    job_type = world.job_type()
    request = world.request(job_type=job_type.name)
    hold_id = left_behind(world, request)
    update(world, job_type, enabled=False)
    refused(world.jobs.CreateJob, request, "JOB_TYPE_DISABLED")
    assert world.hold(hold_id).state == ACTIVE
    world.audit()
    assert world.hold(hold_id).state == RELEASED


def test_the_hold_of_a_submission_that_nobody_repeats_is_released_and_those_of_jobs_stay(world: JobsStack) -> None:
    named = {"customer_id": world.customer(), "job_type": world.job_type().name}
    alive, (running, _) = world.job(**named), world.running(**named)
    orphan = left_behind(world, world.request(**named))
    world.audit()
    assert world.hold(orphan).state == RELEASED
    assert {world.hold(job.hold_id).state for job in (alive, running)} == {ACTIVE}
    assert pending(world, named["customer_id"]) == 10


def test_a_submission_that_is_repeated_after_its_hold_was_released_gets_another_one(world: JobsStack) -> None:
    request = world.request()
    first = left_behind(world, request)
    world.audit()
    job = world.jobs.CreateJob(request).job
    assert job.hold_id != first
    assert world.hold(job.hold_id).state == ACTIVE
    assert pending(world, request.customer_id) == 5


def test_an_id_that_was_reserved_for_somebody_else_is_refused(world: JobsStack, refused: Refused) -> None:
    request = world.request()
    left_behind(world, request)
    request.customer_id = world.customer()
    error = refused(world.jobs.CreateJob, request, "IDEMPOTENCY_KEY_REUSED")
    assert error.metadata == {"fields": "customer_id"}


def test_the_id_of_a_job_that_was_charged_and_deleted_is_refused(
    world: JobsStack, refused: Refused, stored: Stored
) -> None:
    request = world.request()
    job = world.succeeded(**{name: getattr(request, name) for name in ("job_id", "customer_id", "job_type")})
    charge(world, job)
    stored.execute("DELETE FROM jobs WHERE id = %s", job.id)
    error = refused(world.jobs.CreateJob, request, "IDEMPOTENCY_KEY_REUSED")
    assert error.metadata == {"fields": "job_id"}


def test_a_failed_job_gives_its_money_back_and_takes_it_again_to_be_retried(world: JobsStack) -> None:
    customer_id = world.customer(cents=5)
    job = failed(world, customer_id=customer_id)
    assert (world.hold(job.hold_id).state, pending(world, customer_id)) == (RELEASED, 0)

    again = world.jobs.RetryJob(pb.RetryJobRequest(job_id=job.id)).job

    assert again.billing_status == job_pb2.BILLING_STATUS_HELD
    assert again.hold_id != job.hold_id
    assert (world.hold(again.hold_id).state, pending(world, customer_id)) == (ACTIVE, 5)
    assert world.jobs.RetryJob(pb.RetryJobRequest(job_id=job.id)).job == again


def test_a_failed_job_without_money_is_not_retried(world: JobsStack, refused: Refused) -> None:
    customer_id = world.customer(cents=5)
    job = failed(world, customer_id=customer_id)
    other = world.job(customer_id=customer_id)
    error = refused(world.jobs.RetryJob, pb.RetryJobRequest(job_id=job.id), "INSUFFICIENT_FUNDS")
    assert error.metadata["available_cents"] == "0"
    ids = pb.JobIds(job_ids=[job.id, other.id])
    results = world.jobs.BatchRetryJobs(pb.BatchRetryJobsRequest(ids=ids)).results
    details(results[0].error, "INSUFFICIENT_FUNDS")
    assert results[1].job.status == job_pb2.JOB_STATUS_PENDING


def test_a_failed_job_is_not_retried_without_a_wallet_or_the_wallets_service(
    world: JobsStack, refused: Refused, wallets_server: WalletsServer
) -> None:
    request = pb.RetryJobRequest(job_id=(job := failed(world)).id)
    wallets_server.server.stop()
    try:
        error = refused(world.jobs.RetryJob, request, "DEPENDENCY_UNAVAILABLE")
    finally:
        wallets_server.server.start()
    assert error.metadata == {"dependency": "wallets"}

    # What no call does: it takes a hand, or a copy of an earlier day.
    rename = "UPDATE wallets SET currency = %s WHERE customer_id = %s AND currency = 'EUR'"
    Stored(wallets_server.url).execute(rename, "GBP", job.customer_id)
    until_sync(lambda: reason_of(lambda: world.jobs.RetryJob(request)) == "NO_WALLET_IN_CURRENCY", limit_seconds=10)
    assert world.get(job.id) == job


def test_a_job_whose_hold_is_still_to_be_released_says_when_it_can_be_retried(
    world: JobsStack, refused: Refused
) -> None:
    job, lease_id = world.running()
    world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, error=FAILED))
    error = refused(world.jobs.RetryJob, pb.RetryJobRequest(job_id=job.id), "JOB_NOT_RETRYABLE")
    assert error.metadata["billing_status"] == "RELEASE_DUE"
    assert error.retry_after_seconds == 2


def test_a_hold_that_a_crash_left_in_a_retry_is_used_by_the_next_retry_or_released(world: JobsStack) -> None:
    job = failed(world)
    wanted = Reservation(
        job_id=UUID(job.id), customer_id=UUID(job.customer_id), currency="EUR", amount_cents=5, generation=1
    )
    place = wallets_pb.PlaceHoldRequest(
        hold_id=str(wanted.hold_id), job_id=job.id, customer_id=job.customer_id, currency="EUR", amount_cents=5
    )
    world.wallets.PlaceHold(place)
    assert world.jobs.RetryJob(pb.RetryJobRequest(job_id=job.id)).job.hold_id == str(wanted.hold_id)

    other = failed(world)
    place.hold_id, place.job_id = str(uuid4()), other.id
    place.customer_id = other.customer_id
    world.wallets.PlaceHold(place)
    world.audit()
    assert world.hold(place.hold_id).state == RELEASED
    assert world.hold(str(wanted.hold_id)).state == ACTIVE


def test_a_retry_does_not_use_a_hold_of_another_amount(world: JobsStack) -> None:
    job = failed(world)
    place = wallets_pb.PlaceHoldRequest(
        hold_id=str(uuid5(UUID(job.id), "hold:1")),
        job_id=job.id,
        customer_id=job.customer_id,
        currency="EUR",
        amount_cents=3,
    )
    world.wallets.PlaceHold(place)
    retried = world.jobs.RetryJob(pb.RetryJobRequest(job_id=job.id)).job
    assert world.hold(retried.hold_id).amount_cents == retried.estimated_cost_cents == 5


def test_a_job_from_before_there_were_holds_is_charged_failed_and_retried_all_the_same(
    world: JobsStack, stored: Stored
) -> None:
    named = {"customer_id": world.customer(cents=20), "job_type": world.job_type().name}
    jobs = [world.job(**named) for _ in range(2)]
    for job in jobs:
        world.wallets.ReleaseHold(wallets_pb.ReleaseHoldRequest(hold_id=job.hold_id))
        stored.execute("UPDATE jobs SET billing_status = 'UNHELD', hold_id = NULL WHERE id = %s", job.id)
    lease_id = str(uuid4())
    world.claim(*(job.id for job in jobs), lease_id=lease_id)
    success = pb.JobCompletion(job_id=jobs[0].id, lease_id=lease_id, output_json="1")
    failure = pb.JobCompletion(job_id=jobs[1].id, lease_id=lease_id, error=FAILED)

    done, _ = world.complete(success, failure)

    assert done.recorded.charge.hold_id == ""
    charge(world, world.get(jobs[0].id))
    assert world.wallet(named["customer_id"]).current_balance_cents == 15
    assert world.get(jobs[1].id).billing_status == job_pb2.BILLING_STATUS_RELEASED
    again = world.jobs.RetryJob(pb.RetryJobRequest(job_id=jobs[1].id)).job
    assert (again.billing_status, pending(world, named["customer_id"])) == (job_pb2.BILLING_STATUS_HELD, 5)


def test_a_cancelled_job_gives_its_money_back(world: JobsStack) -> None:
    job = world.job()
    world.jobs.CancelJob(pb.CancelJobRequest(job_id=job.id))
    assert world.get(job.id).billing_status == job_pb2.BILLING_STATUS_RELEASE_DUE
    assert world.released(job.id).billing_status == job_pb2.BILLING_STATUS_RELEASED
    assert pending(world, job.customer_id) == 0
    world.settle()
    assert world.hold(job.hold_id).state == RELEASED
