"""Whose things exist for a caller, and that no method and no use case can forget to ask."""

import re
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest

from innosystem.customers.v1 import customer_service_pb2 as pb
from services.kit.auth.authentication import OFF
from services.kit.auth.principal import ANYONE, Kind, Principal
from services.kit.auth.tenants import ALL_TENANTS, Tenants
from services.kit.query.fields import StringField, UuidField
from services.kit.query.specification import ALWAYS, And
from services.kit.rpc.layers.stack import Layers, Load
from services.kit.settings import StartupError

SERVICES = Path(__file__).parents[4] / "services"
OURS, THEIRS = UUID(int=1), UUID(int=2)
CUSTOMER, QUEUE = UuidField("customer_id"), StringField("queue")


def test_everything_exists_for_a_caller_that_is_not_bound() -> None:
    assert ANYONE.tenants is ALL_TENANTS
    assert ALL_TENANTS.own(uuid4())
    assert ALL_TENANTS.own(None)
    assert ALL_TENANTS.serve("default")
    assert ALL_TENANTS.narrowing(CUSTOMER, QUEUE).specification is ALWAYS


def test_what_exists_for_a_bound_caller() -> None:
    bound = Principal(kind=Kind.CLIENT, name="x", customers=frozenset([OURS]), queues=frozenset(["images"])).tenants
    assert (bound.own(OURS), bound.own(THEIRS), bound.own(None)) == (True, False, False)
    assert (bound.serve("images"), bound.serve("default")) == (True, False)
    condition = bound.narrowing(CUSTOMER, QUEUE).specification
    assert condition == And((CUSTOMER.is_(OURS), QUEUE.is_("images")))


def test_nothing_exists_for_a_caller_that_is_bound_to_nothing() -> None:
    nobody = Tenants(frozenset(), None)
    assert not nobody.own(OURS)
    assert nobody.narrowing(CUSTOMER).specification == CUSTOMER.is_in([])


def test_the_key_of_tenants_tells_them_apart_whatever_their_order() -> None:
    keys = {
        Tenants(customers, queues).key
        for customers in (None, frozenset[UUID](), frozenset([OURS]), frozenset([OURS, THEIRS]))
        for queues in (None, frozenset(["a"]), frozenset(["a", "b"]))
    }
    assert len(keys) == 12
    assert Tenants(frozenset([OURS, THEIRS]), None).key == Tenants(frozenset([THEIRS, OURS]), None).key


def test_a_method_that_does_not_ask_whose_call_it_is_is_not_served() -> None:
    async def get_customer(request: object, context: object) -> pb.GetCustomerResponse:
        return pb.GetCustomerResponse()

    handler: Any = grpc.unary_unary_rpc_method_handler(get_customer, pb.GetCustomerRequest.FromString)
    with pytest.raises(StartupError, match=r"CustomerService.GetCustomer .* @for_tenants"):
        Layers(Load(1, 1), 1, OFF).around("/innosystem.customers.v1.CustomerService/GetCustomer", handler)


def test_only_servicers_and_layers_read_the_principal_of_a_call() -> None:
    readers = {
        path.relative_to(SERVICES).as_posix()
        for path in SERVICES.rglob("*.py")
        if re.search(r"\bprincipal\.(get|set)\(", path.read_text(encoding="utf-8"))
    }
    assert readers
    assert all(one.startswith("kit/rpc/") or "/rpc/" in one for one in readers), readers
