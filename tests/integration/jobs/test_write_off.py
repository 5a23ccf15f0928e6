"""JobService.WriteOffJob over gRPC, with the real wallets service beside it: the job's charge is booked as our loss."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import grpc
import pytest

from innosystem.client import error_from
from innosystem.jobs.v1 import job_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.wallets.v1 import wallet_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as wallets_pb
from tests.support.rpc.jobs_stack import JobsStack, WalletsServer
from tests.support.rpc.refusals import Refused, Stored
from tests.support.until import until_sync

Unpaid = Callable[[], job_pb2.Job]


def charge_of(job: job_pb2.Job, **values: Any) -> wallets_pb.DeductRequest:
    asked = {"amount_cents": 5, "job_id": job.id, "hold_id": job.hold_id, "idempotency_key": f"job:{job.id}"}
    return wallets_pb.DeductRequest(customer_id=job.customer_id, currency=job.currency, **{**asked, **values})


def statement(world: JobsStack, job: job_pb2.Job) -> list[wallet_pb2.Transaction]:
    """Return the ledger's transactions of a job."""
    owner = wallets_pb.WalletOwner(customer_id=job.customer_id, currency=job.currency)
    request = wallets_pb.ListTransactionsRequest(owner=owner, filter=f'job_id = "{job.id}"', order_by="sequence")
    return list(world.wallets.ListTransactions(request).transactions)


@pytest.fixture
def unpaid(world: JobsStack, refused: Refused) -> Unpaid:
    """Run a job to its success whose hold an operator released, and whose customer has spent the money elsewhere."""

    def take() -> job_pb2.Job:
        job, lease_id = world.running(customer_id=world.customer(5))
        world.wallets.ReleaseHold(wallets_pb.ReleaseHoldRequest(hold_id=job.hold_id))
        world.wallets.Deduct(charge_of(job, job_id="", hold_id="", idempotency_key="elsewhere"))
        world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, output_json="1"))
        refused(world.wallets.Deduct, charge_of(job), "INSUFFICIENT_FUNDS")
        declined = pb.JobSettlement(job_id=job.id, declined=pb.ChargeDeclined(reason="INSUFFICIENT_FUNDS"))
        world.jobs.SettleJobs(pb.SettleJobsRequest(settlements=[declined]))
        job = world.get(job.id)
        assert job.billing_status == job_pb2.BILLING_STATUS_DECLINED
        return job

    return take


def test_a_declined_job_is_written_off_once_and_is_charged_ever_after(world: JobsStack, unpaid: Unpaid) -> None:
    job = unpaid()
    found = world.jobs.ListJobs(pb.ListJobsRequest(filter="billing_status = DECLINED")).jobs
    assert job.id in [one.id for one in found]
    request = pb.WriteOffJobRequest(job_id=job.id, reason="never paid")
    done = world.jobs.WriteOffJob(request).job
    assert done.billing_status == job_pb2.BILLING_STATUS_CHARGED
    assert (done.input_json, done.output_json) == ("", "")
    lines = statement(world, job)
    assert [(one.kind, one.amount_cents) for one in lines] == [
        (wallet_pb2.TRANSACTION_KIND_ADJUSTMENT, 5),
        (wallet_pb2.TRANSACTION_KIND_DEDUCTION, -5),
    ]
    assert {one.description for one in lines} == {"never paid"}
    assert done.transaction_id == lines[1].id
    assert world.wallet(job.customer_id).current_balance_cents == 0
    assert world.jobs.WriteOffJob(request).job == done
    assert world.wallets.Deduct(charge_of(job)).replayed
    assert statement(world, job) == lines


def test_a_write_off_that_the_jobs_service_did_not_live_to_record_is_finished_by_the_same_call(
    world: JobsStack, unpaid: Unpaid
) -> None:
    job = unpaid()
    asked = wallets_pb.WriteOffRequest(
        customer_id=job.customer_id, currency=job.currency, amount_cents=5, job_id=job.id, hold_id=job.hold_id
    )
    made = world.wallets.WriteOff(asked)
    assert world.get(job.id).billing_status == job_pb2.BILLING_STATUS_DECLINED
    done = world.jobs.WriteOffJob(pb.WriteOffJobRequest(job_id=job.id, reason="never paid")).job
    assert (done.billing_status, done.transaction_id) == (job_pb2.BILLING_STATUS_CHARGED, made.transaction.id)


def test_a_job_that_is_paid_after_all_is_charged_and_nothing_is_written_off(world: JobsStack, unpaid: Unpaid) -> None:
    job = unpaid()
    world.credit(job.customer_id, 7)
    paid = world.wallets.Deduct(charge_of(job)).transaction
    done = world.jobs.WriteOffJob(pb.WriteOffJobRequest(job_id=job.id, reason="never paid")).job
    assert (done.billing_status, done.transaction_id) == (job_pb2.BILLING_STATUS_CHARGED, paid.id)
    assert statement(world, job) == [paid]


def test_what_is_not_declined_is_refused_and_so_are_bad_fields(
    world: JobsStack, refused: Refused, stored: Stored
) -> None:
    job = world.succeeded()
    with stored.unchanged():
        request = pb.WriteOffJobRequest(job_id=job.id, reason="never paid")
        error = refused(world.jobs.WriteOffJob, request, "NOTHING_TO_WRITE_OFF")
        assert error.metadata == {"job_id": job.id, "status": "SUCCEEDED", "billing_status": "CHARGE_DUE"}
        unknown = pb.WriteOffJobRequest(job_id=str(uuid4()), reason="never paid")
        refused(world.jobs.WriteOffJob, unknown, "JOB_NOT_FOUND")
        for reason in ("", "x" * 501, "a\0b"):
            refused.field(world.jobs.WriteOffJob, pb.WriteOffJobRequest(job_id=job.id, reason=reason), "reason")


def test_a_refusal_of_the_ledger_is_named_and_the_job_stays_as_it_is(
    world: JobsStack, unpaid: Unpaid, refused: Refused
) -> None:
    job = unpaid()
    world.credit(job.customer_id, 1)
    world.wallets.Deduct(charge_of(job, amount_cents=1))
    request = pb.WriteOffJobRequest(job_id=job.id, reason="never paid")
    error = refused(world.jobs.WriteOffJob, request, "WRITE_OFF_REFUSED")
    assert error.metadata == {"job_id": job.id, "refusal": "IDEMPOTENCY_KEY_REUSED"}
    assert world.get(job.id) == job


def test_a_job_that_another_wallet_was_charged_for_is_blocked_and_not_charged_or_written_off(
    world: JobsStack, unpaid: Unpaid, refused: Refused
) -> None:
    job, other = unpaid(), world.customer(100)
    charge = charge_of(job, hold_id="")
    charge.customer_id = other
    by = world.wallets.Deduct(charge).transaction.id
    world.credit(job.customer_id, 100)
    error = refused(world.wallets.Deduct, charge_of(job), "ALREADY_CHARGED")
    assert error.metadata == {"job_id": job.id, "transaction_id": by}
    error = refused(world.jobs.WriteOffJob, pb.WriteOffJobRequest(job_id=job.id, reason="paid"), "WRITE_OFF_REFUSED")
    assert error.metadata == {"job_id": job.id, "refusal": "ALREADY_CHARGED"}
    assert statement(world, job) == []
    # A runner or the settler records the refusal that it receives, and does not try again.
    told = pb.JobSettlement(job_id=job.id, declined=pb.ChargeDeclined(reason="ALREADY_CHARGED"))
    world.jobs.SettleJobs(pb.SettleJobsRequest(settlements=[told]))
    assert world.get(job.id).billing_status == job_pb2.BILLING_STATUS_CHARGE_BLOCKED


def test_while_the_wallets_service_is_away_nothing_is_written_off(
    world: JobsStack, unpaid: Unpaid, refused: Refused, wallets_server: WalletsServer
) -> None:
    job = unpaid()
    request = pb.WriteOffJobRequest(job_id=job.id, reason="never paid")
    wallets_server.server.stop()
    try:
        error = refused(world.jobs.WriteOffJob, request, "DEPENDENCY_UNAVAILABLE")
    finally:
        wallets_server.server.start()
    assert error.metadata == {"dependency": "wallets"}
    assert world.get(job.id) == job

    def is_written_off() -> bool:
        try:
            done = world.jobs.WriteOffJob(request).job
        except grpc.RpcError as again:
            refusal = error_from(again)
            assert refusal is not None
            assert refusal.reason == "DEPENDENCY_UNAVAILABLE"
            return False
        return done.billing_status == job_pb2.BILLING_STATUS_CHARGED

    until_sync(is_written_off, limit_seconds=10)
