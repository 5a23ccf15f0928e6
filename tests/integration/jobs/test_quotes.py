"""CreateJob with validate_only returns what the call would do, and leaves nothing behind."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from innosystem.client import error_from
from innosystem.customers.v1 import customer_service_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.jobs.v1 import job_type_service_pb2
from innosystem.jobs.v1.job_type_pb2 import Metering
from tests.integration.jobs.conftest import Neighbours
from tests.support.rpc.healthy_books import keep_receipts
from tests.support.rpc.jobs_stack import JobsStack
from tests.support.rpc.loop_thread import LoopThread
from tests.support.rpc.refusals import Refused, Stored, details, reason_of

FUNDS = 100_000


def quote(world: JobsStack, request: pb.CreateJobRequest) -> pb.CreateJobResponse:
    request.validate_only = True
    return world.jobs.CreateJob(request)


def test_a_quote_has_price_hold_and_what_is_left(world: JobsStack) -> None:
    customer = world.customer()
    world.job(customer_id=customer)
    response = quote(world, world.request(customer_id=customer))
    assert not response.HasField("job")
    assert response.quote == pb.Quote(
        price_cents=5,
        hold_cents=5,
        currency="EUR",
        balance_cents=FUNDS,
        available_cents=FUNDS - 5,
        balance_after_cents=FUNDS - 5,
        available_after_cents=FUNDS - 10,
    )


def test_a_quote_of_a_metered_job_has_the_maximum_as_its_hold(world: JobsStack) -> None:
    response = quote(world, world.request(job_type=world.metered().name))
    assert (response.quote.price_cents, response.quote.hold_cents) == (4, 10)
    assert response.quote.metering == Metering(
        unit="page", unit_price_micro_cents=2_000_000, max_cost_cents=10, standard_cost_cents=4
    )
    assert response.quote.available_after_cents == FUNDS - 10


def test_a_quote_of_a_free_job_needs_no_wallet(world: JobsStack) -> None:
    customer = str(uuid4())
    world.customers.CreateCustomer(
        customer_service_pb2.CreateCustomerRequest(customer_id=customer, name="Ada", email=f"{customer}@example.com")
    )
    free = world.job_type(standard_cost_cents=0).name
    response = quote(world, world.request(customer_id=customer, job_type=free))
    assert response.quote == pb.Quote(currency="EUR")


def test_a_quote_stores_no_job_and_reserves_nothing(
    world: JobsStack, database_url: str, neighbours: Neighbours
) -> None:
    request = world.request()
    with Stored(database_url).unchanged(), Stored(neighbours[1].url).unchanged():
        quote(world, request)
    request.validate_only = False
    assert not world.jobs.CreateJob(request).replayed


def test_a_quote_of_a_job_that_was_submitted_is_that_job(world: JobsStack) -> None:
    request = world.request()
    job = world.jobs.CreateJob(request).job
    response = quote(world, request)
    assert (response.job, response.replayed, response.HasField("quote")) == (job, True, False)


def bad_schema(world: JobsStack) -> dict[str, Any]:
    return {"job_type": world.job_type(input_schema_json='{"type": "string"}').name}


def disabled(world: JobsStack) -> dict[str, Any]:
    kind = world.job_type()
    update = job_type_service_pb2.UpdateJobTypeRequest(job_type=kind)
    update.job_type.enabled = False
    update.update_mask.paths.append("enabled")
    world.job_types.UpdateJobType(update)
    return {"job_type": kind.name}


def inactive(world: JobsStack) -> dict[str, Any]:
    customer = world.customer()
    world.customers.DeleteCustomer(customer_service_pb2.DeleteCustomerRequest(customer_id=customer))
    return {"customer_id": customer}


def without_wallet(world: JobsStack) -> dict[str, Any]:
    return {"job_type": world.job_type(currency="JPY").name}


def used(world: JobsStack) -> dict[str, Any]:
    return {"job_id": world.job().id}


REFUSED: dict[str, Callable[[JobsStack], dict[str, Any]]] = {
    "CUSTOMER_NOT_FOUND": lambda world: {"customer_id": str(uuid4())},
    "CUSTOMER_INACTIVE": inactive,
    "JOB_TYPE_NOT_FOUND": lambda world: {"job_type": "nothing"},
    "JOB_TYPE_DISABLED": disabled,
    "PRICE_ABOVE_MAXIMUM": lambda world: {"max_cost_cents": 4},
    "INSUFFICIENT_FUNDS": lambda world: {"customer_id": world.customer(4)},
    "NO_WALLET_IN_CURRENCY": without_wallet,
    "INVALID_INPUT_JSON": bad_schema,
    "INPUT_TOO_LARGE": lambda world: {"input_json": f'"{"x" * 1_100_000}"'},
    "IDEMPOTENCY_KEY_REUSED": used,
    "INVALID_FIELD": lambda world: {"expires_at": Timestamp(seconds=1)},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_quote_fails_with_the_very_error_of_the_call(world: JobsStack, refused: Refused, reason: str) -> None:
    values = REFUSED[reason](world)
    request = world.request(**values)
    meant = refused(world.jobs.CreateJob, request, reason)
    request.validate_only = True
    asked = refused(world.jobs.CreateJob, request, reason)
    assert (asked.message, asked.metadata) == (meant.message, meant.metadata)


def test_a_quote_under_the_id_of_a_job_that_was_charged_and_deleted_is_refused(
    world: JobsStack, loop_thread: LoopThread, database_url: str
) -> None:
    customer = world.customer()
    job = world.succeeded(customer_id=customer)
    transaction = pb.ChargeTransaction(id=str(uuid4()))
    world.jobs.SettleJobs(pb.SettleJobsRequest(settlements=[pb.JobSettlement(job_id=job.id, transaction=transaction)]))
    loop_thread.run(keep_receipts(database_url))
    request = world.request(job_id=job.id, customer_id=customer, validate_only=True)
    with pytest.raises(grpc.RpcError) as caught:
        world.jobs.CreateJob(request)
    error = error_from(caught.value)
    assert error is not None
    assert (error.reason, error.metadata) == ("IDEMPOTENCY_KEY_REUSED", {"fields": "job_id"})


def test_in_a_batch_each_is_quoted_alone_and_the_others_are_submitted(world: JobsStack) -> None:
    customer = world.customer(9)
    asked = [world.request(customer_id=customer, validate_only=True) for _ in range(2)]
    meant = world.request(customer_id=customer)
    poor = world.request(customer_id=world.customer(4), validate_only=True)
    requests = [asked[0], meant, poor, asked[1]]
    results = world.jobs.BatchCreateJobs(pb.BatchCreateJobsRequest(requests=requests)).results
    assert [one.response.quote.hold_cents for one in (results[0], results[3])] == [5, 5]
    assert results[1].response.job.id == meant.job_id
    details(results[2].error, "INSUFFICIENT_FUNDS")
    # Now only 4 of the 9 are left.
    assert reason_of(lambda: quote(world, asked[0])) == "INSUFFICIENT_FUNDS"


def test_a_large_input_is_checked_for_a_quote_as_for_a_job(world: JobsStack) -> None:
    kind = world.job_type(input_schema_json='{"type": "array", "items": {"type": "integer"}}').name
    numbers = ",".join(["1"] * 200_000)
    assert quote(world, world.request(job_type=kind, input_json=f"[{numbers}]")).quote.hold_cents == 5
    bad = world.request(job_type=kind, input_json=f'[{numbers},"x"]')
    assert reason_of(lambda: quote(world, bad)) == "INVALID_INPUT_JSON"
