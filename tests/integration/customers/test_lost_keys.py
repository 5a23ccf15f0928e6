"""An API key is shown once: what clients do when the response that shows it is lost."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from innosystem.client import connect, create_api_key, create_customer, rotate_api_key
from innosystem.customers.v1 import customer_service_pb2 as pb
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from innosystem.options.v1 import options_pb2
from services.customers.rpc.servicer import CustomerServicer
from tests.support.rpc.loop_thread import LoopThread
from tests.support.rpc.servers import customers_servicer

SERVICE = "customers"
SHOWING_KEYS = ("CreateCustomer", "CreateApiKey", "RotateApiKey")


class LosingAnswers:
    """CustomerService whose responses with keys are lost after the work was done, as often as it is asked."""

    def __init__(self, servicer: CustomerServicer) -> None:
        self._servicer = servicer
        self.to_lose = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._servicer, name)
        if name not in SHOWING_KEYS:
            return method

        async def losing(request: Any, context: Any) -> Any:
            response = await method(request, context)
            if self.to_lose and response.api_key:
                self.to_lose -= 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection was reset")
            return response

        return losing


@pytest.fixture(scope="module")
def grpc_servicer(loop_thread: LoopThread, database_url: str) -> Iterator[LosingAnswers]:
    with customers_servicer(loop_thread, database_url) as servicer:
        yield LosingAnswers(servicer)


Call = Callable[..., Any]


@pytest.fixture
def call(loop_thread: LoopThread, grpc_stub: CustomerServiceStub, grpc_addr: str) -> Call:
    """Call a function of the SDK with a stub on a channel of the SDK, which repeats what is safe to repeat."""

    async def called(function: Callable[..., Any], request: Any) -> Any:
        async with connect(grpc_addr) as channel:
            return await function(CustomerServiceStub(channel), request)

    return lambda function, request: loop_thread.run(called(function, request))


def new_customer(**values: Any) -> pb.CreateCustomerRequest:
    return pb.CreateCustomerRequest(name="Ada", email=f"{uuid4()}@example.com", **values)


def owner(stub: CustomerServiceStub, api_key: str) -> str:
    return stub.ResolveApiKey(pb.ResolveApiKeyRequest(api_key=api_key)).customer.id


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_who_creates_a_customer_comes_away_with_its_key(
    call: Call, grpc_servicer: LosingAnswers, grpc_stub: CustomerServiceStub, lost: int
) -> None:
    grpc_servicer.to_lose = lost

    response = call(create_customer, new_customer())

    assert grpc_servicer.to_lose == 0
    assert owner(grpc_stub, response.api_key) == response.customer.id
    assert response.api_key.startswith(response.customer.api_key_prefix)
    keys = grpc_stub.ListApiKeys(pb.ListApiKeysRequest(customer_id=response.customer.id)).api_keys
    assert [one.HasField("expires_at") for one in keys] == [False] + [True] * lost


def test_a_customer_that_somebody_may_know_keeps_its_key(call: Call, grpc_stub: CustomerServiceStub) -> None:
    asked = new_customer(customer_id=str(uuid4()))
    first = grpc_stub.CreateCustomer(asked)

    again = call(create_customer, asked)

    assert (again.replayed, again.api_key) == (True, "")
    assert owner(grpc_stub, first.api_key) == asked.customer_id


def test_who_rotates_a_key_comes_away_with_the_new_one_and_the_lost_one_is_revoked(
    call: Call, grpc_servicer: LosingAnswers, grpc_stub: CustomerServiceStub
) -> None:
    first = grpc_stub.CreateCustomer(new_customer(customer_id=str(uuid4())))
    grpc_servicer.to_lose = 1
    asked = pb.RotateApiKeyRequest(customer_id=first.customer.id, overlap=Duration(seconds=3600))

    response = call(rotate_api_key, asked)

    assert owner(grpc_stub, response.api_key) == owner(grpc_stub, first.api_key) == first.customer.id
    present, lost, before = grpc_stub.ListApiKeys(pb.ListApiKeysRequest(customer_id=first.customer.id)).api_keys
    assert present.id == response.key.id
    assert lost.expires_at.seconds < before.expires_at.seconds


def test_who_creates_a_further_key_comes_away_with_it_and_the_lost_one_is_revoked(
    call: Call, grpc_servicer: LosingAnswers, grpc_stub: CustomerServiceStub
) -> None:
    first = grpc_stub.CreateCustomer(new_customer(customer_id=str(uuid4())))
    grpc_servicer.to_lose = 1
    asked = pb.CreateApiKeyRequest(
        customer_id=first.customer.id, name="backend", scopes=[options_pb2.SCOPE_READ], ttl=Duration(seconds=3600)
    )

    response = call(create_api_key, asked)

    assert owner(grpc_stub, response.api_key) == owner(grpc_stub, first.api_key) == first.customer.id
    present, lost, _ = grpc_stub.ListApiKeys(pb.ListApiKeysRequest(customer_id=first.customer.id)).api_keys
    assert (present.id, present.name, lost.name) == (response.key.id, "backend", "backend")
    assert lost.expires_at.seconds < present.expires_at.seconds


def test_a_rotation_under_an_id_of_the_callers_own_is_not_made_anew(call: Call, grpc_stub: CustomerServiceStub) -> None:
    first = grpc_stub.CreateCustomer(new_customer(customer_id=str(uuid4())))
    asked = pb.RotateApiKeyRequest(customer_id=first.customer.id, api_key_id=str(uuid4()))
    shown = call(rotate_api_key, asked)

    again = call(rotate_api_key, asked)

    assert (again.replayed, again.api_key, again.key) == (True, "", shown.key)
    assert owner(grpc_stub, shown.api_key) == first.customer.id
