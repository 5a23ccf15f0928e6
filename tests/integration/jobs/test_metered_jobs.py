"""Jobs priced by usage over gRPC: what is reserved, charged and given back, and which prices are refused."""

from typing import Any
from uuid import UUID

import psycopg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from psycopg.errors import CheckViolation

from innosystem.jobs.v1 import job_pb2, job_type_service_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.jobs.v1.job_type_pb2 import JobType, Metering
from innosystem.wallets.v1 import wallet_service_pb2 as wallets_pb
from services.jobs.rules.holds import Reservation
from tests.support.rpc.jobs_stack import JobsStack, new_job_type
from tests.support.rpc.refusals import Refused

FUNDS = 100_000


def create(**values: Any) -> job_type_service_pb2.CreateJobTypeRequest:
    return job_type_service_pb2.CreateJobTypeRequest(job_type=new_job_type(**values))


def update(job_type: JobType, *paths: str, **values: Any) -> job_type_service_pb2.UpdateJobTypeRequest:
    return job_type_service_pb2.UpdateJobTypeRequest(
        job_type=JobType(id=job_type.id, **values), update_mask=FieldMask(paths=paths)
    )


def metering(**values: Any) -> Metering:
    return Metering(**{"unit": "page", "unit_price_micro_cents": 1, "max_cost_cents": 10, **values})


def charged(world: JobsStack, job: job_pb2.Job) -> job_pb2.Job:
    """Charge what a job has used, as its runner does."""
    deduct = wallets_pb.DeductRequest(
        customer_id=job.customer_id,
        currency=job.currency,
        amount_cents=job.cost_cents,
        idempotency_key=f"job:{job.id}",
        job_id=job.id,
        hold_id=job.hold_id,
    )
    transaction = pb.ChargeTransaction(id=world.wallets.Deduct(deduct).transaction.id)
    settlement = pb.JobSettlement(job_id=job.id, transaction=transaction)
    world.jobs.SettleJobs(pb.SettleJobsRequest(settlements=[settlement]))
    return world.get(job.id)


def test_the_maximum_is_reserved_and_what_was_used_is_charged(world: JobsStack) -> None:
    customer, kind = world.customer(), world.metered()
    waiting = world.job(customer_id=customer, job_type=kind.name)
    assert waiting.estimated_cost_cents == world.hold(waiting.hold_id).amount_cents == 10
    assert waiting.metering == Metering(
        unit="page", unit_price_micro_cents=2_000_000, max_cost_cents=10, standard_cost_cents=4
    )
    assert world.wallet(customer).available_cents == FUNDS - 10
    job = charged(world, world.used(3, customer_id=customer, job_type=kind.name))
    assert (job.usage_units, job.cost_cents, job.billing_status) == (3, 6, job_pb2.BILLING_STATUS_CHARGED)
    wallet = world.wallet(customer)
    assert (wallet.current_balance_cents, wallet.pending_charges_cents) == (FUNDS - 6, 10)


@pytest.mark.parametrize(("usage_units", "cents"), [(5, 10), (6, 10), (2**63 - 1, 10), (None, 4), (1, 2)])
def test_a_completion_returns_the_charge_of_what_was_used(
    world: JobsStack, usage_units: int | None, cents: int
) -> None:
    job, lease_id = world.running(job_type=world.metered().name)
    done = pb.JobCompletion(job_id=job.id, lease_id=lease_id, output_json="1", usage_units=usage_units)
    [first], [again] = world.complete(done), world.complete(done)
    assert first.recorded.charge.amount_cents == again.recorded.charge.amount_cents == cents


def test_a_job_that_has_used_nothing_is_not_charged_and_its_hold_is_released(world: JobsStack) -> None:
    customer = world.customer()
    job, lease_id = world.running(customer_id=customer, job_type=world.metered().name)
    done = pb.JobCompletion(job_id=job.id, lease_id=lease_id, output_json="1", usage_units=0)
    [result], [again] = world.complete(done), world.complete(done)
    assert result == again
    assert (result.recorded.status, result.recorded.HasField("charge")) == (job_pb2.JOB_STATUS_SUCCEEDED, False)
    after = world.released(job.id)
    assert (after.billing_status, after.cost_cents) == (job_pb2.BILLING_STATUS_RELEASED, 0)
    wallet = world.wallet(customer)
    assert (wallet.current_balance_cents, wallet.available_cents) == (FUNDS, FUNDS)


def test_usage_of_a_run_that_failed_costs_nothing(world: JobsStack) -> None:
    job, lease_id = world.running(job_type=world.metered().name)
    error = job_pb2.JobError(type="E", message="no", retryable=False)
    world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, error=error, usage_units=3))
    after = world.released(job.id)
    assert (after.status, after.HasField("usage_units")) == (job_pb2.JOB_STATUS_FAILED, False)


def test_usage_of_a_job_that_is_not_metered_is_kept_and_has_no_price(world: JobsStack) -> None:
    job = world.used(3)
    assert (job.usage_units, job.cost_cents, job.HasField("metering")) == (3, 5, False)


def test_negative_usage_is_refused(world: JobsStack) -> None:
    job, lease_id = world.running(job_type=world.metered().name)
    done = pb.JobCompletion(job_id=job.id, lease_id=lease_id, output_json="1", usage_units=-1)
    [result] = world.complete(done)
    assert "usage_units" in result.error.message


def test_a_new_price_does_not_touch_jobs_that_were_submitted_before(world: JobsStack) -> None:
    kind = world.metered()
    job, lease_id = world.running(job_type=kind.name)
    world.job_types.UpdateJobType(update(kind, "metering"))
    done = pb.JobCompletion(job_id=job.id, lease_id=lease_id, output_json="1", usage_units=4)
    [result] = world.complete(done)
    assert result.recorded.charge.amount_cents == 8
    assert not world.job(job_type=kind.name).HasField("metering")


def test_the_caller_agrees_to_the_maximum_and_not_to_the_usual_price(world: JobsStack, refused: Refused) -> None:
    kind = world.metered()
    error = refused(world.jobs.CreateJob, world.request(job_type=kind.name, max_cost_cents=9), "PRICE_ABOVE_MAXIMUM")
    assert error.metadata["price_cents"] == "10"
    assert world.job(job_type=kind.name, max_cost_cents=10).estimated_cost_cents == 10


def test_a_wallet_that_does_not_cover_the_maximum_is_refused(world: JobsStack, refused: Refused) -> None:
    request = world.request(job_type=world.metered().name, customer_id=world.customer(9))
    error = refused(world.jobs.CreateJob, request, "INSUFFICIENT_FUNDS")
    assert error.metadata["required_cents"] == "10"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"unit": ""}, "job_type.metering.unit"),
        ({"unit_price_micro_cents": 0}, "job_type.metering.unit_price_micro_cents"),
        ({"max_cost_cents": 0}, "job_type.metering.max_cost_cents"),
        ({"max_cost_cents": 4}, "job_type.standard_cost_cents"),
    ],
)
def test_prices_by_usage_that_make_no_sense_are_refused(
    world: JobsStack, refused: Refused, values: dict[str, Any], field: str
) -> None:
    refused.field(world.job_types.CreateJobType, create(metering=metering(**values)), field)
    refused.field(
        world.job_types.UpdateJobType, update(world.job_type(), "metering", metering=metering(**values)), field
    )


def test_a_standard_price_above_the_maximum_is_refused_whichever_changes(world: JobsStack, refused: Refused) -> None:
    kind = world.metered()
    refused.field(
        world.job_types.UpdateJobType,
        update(kind, "standard_cost_cents", standard_cost_cents=11),
        "job_type.standard_cost_cents",
    )


def test_a_repeated_create_of_a_metered_type_has_the_same_prices(world: JobsStack, refused: Refused) -> None:
    request = create(metering=metering())
    assert not world.job_types.CreateJobType(request).replayed
    assert world.job_types.CreateJobType(request).replayed
    request.job_type.metering.unit_price_micro_cents = 2
    error = refused(world.job_types.CreateJobType, request, "IDEMPOTENCY_KEY_REUSED")
    assert error.metadata["fields"] == "job_type.metering"


@pytest.mark.parametrize(
    ("changed", "reserved_cents"),
    [(metering(max_cost_cents=50), 50), (metering(unit_price_micro_cents=3), 10), (None, 4)],
    ids=["another maximum", "the same maximum", "not metered any more"],
)
def test_the_maximum_of_a_call_that_got_no_further_is_neither_a_price_nor_another_maximum(
    world: JobsStack, changed: Metering | None, reserved_cents: int
) -> None:
    kind = world.metered()
    request = world.request(job_type=kind.name)
    left = Reservation(
        job_id=UUID(request.job_id),
        customer_id=UUID(request.customer_id),
        currency="EUR",
        amount_cents=10,
        is_maximum=True,
    )
    world.wallets.PlaceHold(
        wallets_pb.PlaceHoldRequest(
            hold_id=str(left.hold_id),
            job_id=request.job_id,
            customer_id=request.customer_id,
            currency="EUR",
            amount_cents=10,
        )
    )
    world.job_types.UpdateJobType(update(kind, "metering", metering=changed))
    job = world.jobs.CreateJob(request).job
    assert job.estimated_cost_cents == world.hold(job.hold_id).amount_cents == reserved_cents
    assert (job.hold_id == str(left.hold_id)) == (reserved_cents == 10)


def test_the_database_refuses_the_charge_of_a_release_that_does_not_know_usage(
    world: JobsStack, database_url: str
) -> None:
    job, _ = world.running(job_type=world.metered().name)
    complete = """
    UPDATE jobs SET status = 'SUCCEEDED', billing_status = 'CHARGE_DUE', cost_cents = estimated_cost_cents,
        output_data = '1', completed_at = now(), lease_id = NULL, lease_expires_at = NULL WHERE id = %s
    """
    with psycopg.connect(database_url) as connection, pytest.raises(CheckViolation, match="cost_fits_usage"):
        connection.execute(complete, [job.id])
