"""Every act of an operator, and every movement of money by hand, is in the audit trail with its actor and method."""

from collections.abc import Callable
from typing import Any, Final
from uuid import uuid4

import psycopg
import pytest
from google.protobuf.message import Message

from innosystem.client.contract import services
from innosystem.customers.v1 import customer_service_pb2 as customers
from innosystem.jobs.v1 import job_service_pb2 as jobs
from innosystem.jobs.v1 import job_type_service_pb2 as job_types
from innosystem.options.v1 import options_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as wallets
from services.kit.auth.principal import Kind
from services.kit.auth.rule import Rule
from tests.support.rpc.jobs_stack import JobsStack, new_job_type
from tests.support.rpc.tenants import TenantsWorld

_READS: Final = ("Get", "List", "BatchGet", "Watch", "Verify", "Resolve")
#: The job is what they write, by the thousand, and it names its customer and request.
_SUBMISSIONS: Final = frozenset({"JobService.CreateJob", "JobService.BatchCreateJobs"})
_OPERATOR: Final = "operator/all"

METHODS = {f"{service.name}.{method.name}": method for service in services() for method in service.methods}
ACTS = {
    name
    for name, method in METHODS.items()
    if Kind.OPERATOR in Rule.of(method).callers and not method.name.startswith(_READS) and name not in _SUBMISSIONS
}


def _new() -> str:
    return str(uuid4())


def _update_customer(world: JobsStack) -> Message:
    request = customers.UpdateCustomerRequest(update_mask={"paths": ["name"]})  # type: ignore[arg-type] # protobuf does
    request.customer.id, request.customer.name = world.customer(), "Another"
    return request


def _update_type(world: JobsStack) -> Message:
    request = job_types.UpdateJobTypeRequest(update_mask={"paths": ["max_attempts"]})  # type: ignore[arg-type] # protobuf does
    request.job_type.id, request.job_type.max_attempts = world.job_type().id, 7
    return request


def _deactivated(world: JobsStack) -> Message:
    customer_id = world.customer()
    world.customers.DeleteCustomer(customers.DeleteCustomerRequest(customer_id=customer_id))
    return customers.UndeleteCustomerRequest(customer_id=customer_id)


def _revoked(world: JobsStack) -> Message:
    customer_id = world.customer()
    [key] = world.customers.ListApiKeys(customers.ListApiKeysRequest(customer_id=customer_id)).api_keys
    return customers.RevokeApiKeyRequest(customer_id=customer_id, api_key_id=key.id)


def _paused_type(world: JobsStack) -> Message:
    job_type_id = world.job_type().id
    world.job_types.PauseJobType(job_types.PauseJobTypeRequest(job_type_id=job_type_id))
    return job_types.ResumeJobTypeRequest(job_type_id=job_type_id)


def _paused_queue(world: JobsStack) -> Message:
    world.jobs.PauseQueue(jobs.PauseQueueRequest(queue="resumed"))
    return jobs.ResumeQueueRequest(queue="resumed")


def _cancelled(world: JobsStack) -> str:
    job_id = world.job(job_type=world.job_type(standard_cost_cents=0).name).id
    world.jobs.CancelJob(jobs.CancelJobRequest(job_id=job_id))
    return job_id


def _moving(kind: Callable[..., Any], world: JobsStack, **values: Any) -> Any:
    return kind(customer_id=world.customer(), currency="EUR", amount_cents=5, **values)


def _charge(world: JobsStack) -> wallets.DeductRequest:
    job_id = _new()
    request: wallets.DeductRequest = _moving(
        wallets.DeductRequest, world, job_id=job_id, idempotency_key=f"job:{job_id}"
    )
    return request


def _hold(world: JobsStack) -> wallets.PlaceHoldRequest:
    request: wallets.PlaceHoldRequest = _moving(wallets.PlaceHoldRequest, world, hold_id=_new(), job_id=_new())
    return request


def _placed(world: JobsStack) -> wallets.ReleaseHoldRequest:
    hold = _hold(world)
    world.wallets.PlaceHold(hold)
    return wallets.ReleaseHoldRequest(hold_id=hold.hold_id)


def _refund(world: JobsStack) -> Message:
    charged = world.wallets.Deduct(_charge(world)).transaction.id
    return wallets.RefundRequest(transaction_id=charged, idempotency_key=_new())


def _unpaid(world: JobsStack) -> Message:
    job = world.succeeded()
    world.wallets.ReleaseHold(wallets.ReleaseHoldRequest(hold_id=job.hold_id))
    declined = jobs.JobSettlement(job_id=job.id, declined=jobs.ChargeDeclined(reason="INSUFFICIENT_FUNDS"))
    world.jobs.SettleJobs(jobs.SettleJobsRequest(settlements=[declined]))
    return jobs.WriteOffJobRequest(job_id=job.id, reason="never paid")


_DONE: Final[dict[str, Callable[[JobsStack], Message]]] = {
    "CustomerService.CreateCustomer": lambda _: customers.CreateCustomerRequest(
        customer_id=_new(), name="Ada", email=f"{_new()}@example.com"
    ),
    "CustomerService.UpdateCustomer": _update_customer,
    "CustomerService.DeleteCustomer": lambda world: customers.DeleteCustomerRequest(customer_id=world.customer()),
    "CustomerService.UndeleteCustomer": _deactivated,
    "CustomerService.RotateApiKey": lambda world: customers.RotateApiKeyRequest(customer_id=world.customer()),
    "CustomerService.CreateApiKey": lambda world: customers.CreateApiKeyRequest(
        customer_id=world.customer(), api_key_id=_new(), name="backend", scopes=[options_pb2.SCOPE_READ]
    ),
    "CustomerService.RevokeApiKey": _revoked,
    "JobService.CancelJob": lambda world: jobs.CancelJobRequest(job_id=world.job().id),
    "JobService.BatchCancelJobs": lambda world: jobs.BatchCancelJobsRequest(ids=jobs.JobIds(job_ids=[world.job().id])),
    "JobService.RetryJob": lambda world: jobs.RetryJobRequest(job_id=_cancelled(world)),
    "JobService.BatchRetryJobs": lambda world: jobs.BatchRetryJobsRequest(ids=jobs.JobIds(job_ids=[_cancelled(world)])),
    "JobService.WriteOffJob": _unpaid,
    "JobService.PauseQueue": lambda _: jobs.PauseQueueRequest(queue="paused"),
    "JobService.ResumeQueue": _paused_queue,
    "JobTypeService.CreateJobType": lambda _: job_types.CreateJobTypeRequest(job_type=new_job_type()),
    "JobTypeService.UpdateJobType": _update_type,
    "JobTypeService.PauseJobType": lambda world: job_types.PauseJobTypeRequest(job_type_id=world.job_type().id),
    "JobTypeService.ResumeJobType": _paused_type,
    "JobTypeService.DeleteJobType": lambda world: job_types.DeleteJobTypeRequest(job_type_id=world.job_type().id),
    "WalletService.CreateWallet": lambda _: wallets.CreateWalletRequest(customer_id=_new(), currency="EUR"),
    "WalletService.Credit": lambda world: _moving(wallets.CreditRequest, world, idempotency_key=_new()),
    "WalletService.Deduct": _charge,
    "WalletService.BatchDeduct": lambda world: wallets.BatchDeductRequest(requests=[_charge(world)]),
    "WalletService.PlaceHold": _hold,
    "WalletService.BatchPlaceHolds": lambda world: wallets.BatchPlaceHoldsRequest(requests=[_hold(world)]),
    "WalletService.ReleaseHold": _placed,
    "WalletService.BatchReleaseHolds": lambda world: wallets.BatchReleaseHoldsRequest(requests=[_placed(world)]),
    "WalletService.Refund": _refund,
    "WalletService.WriteOff": lambda world: _moving(wallets.WriteOffRequest, world, job_id=_new()),
}


def done(world: TenantsWorld, name: str, request: Message, actor: str = _OPERATOR) -> list[tuple[str, str]]:
    """Call a method; return actor and method of what the service's audit trail has of the call."""
    request_id = f"act-{uuid4()}"
    stack = world.as_caller(actor, request_id)
    service, _, method = name.partition(".")
    stub, database = {
        "CustomerService": (stack.customers, "customers"),
        "JobService": (stack.jobs, "jobs"),
        "JobTypeService": (stack.job_types, "jobs"),
        "WalletService": (stack.wallets, "wallets"),
    }[service]
    response = getattr(stub, method)(request)
    assert not [one for one in getattr(response, "results", ()) if one.HasField("error")]
    with psycopg.connect(world.urls[database]) as connection:
        query = "SELECT actor, method FROM audit_log WHERE request_id = %s"
        return connection.execute(query, (request_id,)).fetchall()


def test_every_act_has_an_example() -> None:
    assert _DONE.keys() == ACTS


@pytest.mark.parametrize("name", sorted(ACTS))
def test_an_act_of_an_operator_is_in_the_trail(world: TenantsWorld, name: str) -> None:
    method = f"/{METHODS[name].containing_service.full_name}/{METHODS[name].name}"
    found = done(world, name, _DONE[name](world.anyone))
    assert found
    assert set(found) == {(_OPERATOR, method)}


@pytest.mark.parametrize("name", ["JobService.CancelJob", "JobService.RetryJob"])
def test_what_an_application_does_to_its_jobs_is_in_the_trail_as_well(world: TenantsWorld, name: str) -> None:
    values = {"customer_id": world.a.customer_id, "job_type": world.anyone.job_type(standard_cost_cents=0).name}
    job_id = world.anyone.job(**values).id
    if name == "JobService.RetryJob":
        world.anyone.jobs.CancelJob(jobs.CancelJobRequest(job_id=job_id))
    make = {"JobService.CancelJob": jobs.CancelJobRequest, "JobService.RetryJob": jobs.RetryJobRequest}[name]
    assert [actor for actor, _ in done(world, name, make(job_id=job_id), "client/a")] == ["client/a"]


@pytest.mark.parametrize("name", ["WalletService.BatchPlaceHolds", "WalletService.BatchDeduct"])
def test_what_services_do_for_jobs_is_explained_by_the_jobs(world: TenantsWorld, name: str) -> None:
    assert done(world, name, _DONE[name](world.anyone), "service/all") == []
