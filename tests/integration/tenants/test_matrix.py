"""Every method, by every kind of caller, for what is its own, another tenant's and nobody's: as the contract says."""

import re
from typing import Any, Final

import grpc
import pytest
from google.protobuf.message import Message

from innosystem.client import error_from, error_from_status
from innosystem.client.contract import services
from innosystem.jobs.v1 import job_service_pb2 as jobs
from services.kit.auth.principal import Principal
from services.kit.auth.rule import Binding, Rule
from tests.support.rpc.jobs_stack import JobsStack
from tests.support.rpc.tenant_requests import REQUESTS
from tests.support.rpc.tenants import TenantsWorld

METHODS = {f"{service.name}.{method.name}": method for service in services() for method in service.methods}
RULES = {name: Rule.of(method) for name, method in METHODS.items()}
#: What a runner proves by the token of a charge, not by its queues.
PROVEN: Final = frozenset({"WalletService.Deduct", "WalletService.BatchDeduct"})
#: What other results than errors say of a thing that does not exist.
_NOTHING: Final = frozenset({"EMPTY", "LOST", "ZEROS"})
_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def said_by(world: JobsStack, name: str, request: Message) -> tuple[set[str], bytes]:
    """Return what a method returns, in a word for each item, and the bytes of it."""
    try:
        response = world.method(name)(request)
        if METHODS[name].server_streaming:
            response = next(response)
    except grpc.RpcError as caught:
        error = error_from(caught)
        if error is None:
            raise
        # All that a caller gets, but for how long it should wait.
        trailing = {one.key: one.value for one in caught.trailing_metadata() if one.key != "grpc-retry-pushback-ms"}
        return {error.reason}, repr((error.code, error.message, sorted(trailing.items()))).encode()
    if "now" in response.DESCRIPTOR.fields_by_name:
        response.ClearField("now")
    return words(response), response.SerializeToString(deterministic=True)


def words(response: Any) -> set[str]:
    names = response.DESCRIPTOR.fields_by_name
    if "results" in names:
        return {error_from_status(one.error).reason if one.HasField("error") else "OK" for one in response.results}
    if isinstance(response, jobs.RenewLeasesResponse):
        return {"LOST"} if response.not_renewed else {"OK"}
    if isinstance(response, jobs.GetQueueStatsResponse):
        return {"OK" if any(one.running + one.waiting for one in response.queues) else "ZEROS"}
    repeated = [field for field in response.DESCRIPTOR.fields if field.is_repeated and field.message_type]
    return {"EMPTY"} if repeated and not any(getattr(response, one.name) for one in repeated) else {"OK"}


def without_ids(told: bytes, request: Message) -> bytes:
    """Return bytes without the IDs, queues and amounts that the request has named."""
    named = dict.fromkeys(_UUID.findall(request.SerializeToString()))
    if isinstance(request, jobs.GetQueueStatsRequest):
        # Names of different lengths.
        response = jobs.GetQueueStatsResponse.FromString(told)
        for one in response.queues:
            one.queue = ""
        return response.SerializeToString()
    for place, one in enumerate(named):
        told = told.replace(one, b"%036d" % place)
    return told


def test_every_method_has_a_request() -> None:
    assert REQUESTS.keys() == METHODS.keys()


@pytest.mark.parametrize("name", METHODS)
def test_a_call_without_credentials_or_with_wrong_ones_is_refused(each_world: TenantsWorld, name: str) -> None:
    request = REQUESTS[name](each_world.a)
    assert said_by(each_world.as_caller(""), name, request)[0] == {"NO_CREDENTIALS"}
    refusals = {said_by(each_world.as_caller(wrong), name, request)[1] for wrong in each_world.refused}
    assert said_by(each_world.as_caller(each_world.refused[0]), name, request)[0] == {"BAD_CREDENTIALS"}
    assert len(refusals) == 1, refusals


@pytest.mark.parametrize("name", METHODS)
def test_a_method_treats_each_caller_as_the_contract_says(each_world: TenantsWorld, name: str) -> None:
    make = REQUESTS[name]
    for actor, who in each_world.principals.items():
        others = each_world.a if actor == "client/b" else each_world.b
        own = each_world.b if actor == "client/b" else each_world.a
        stack = each_world.as_caller(actor)
        request = make(own)
        said, _ = said_by(stack, name, request)
        if not is_allowed(RULES[name], who):
            assert said == {"NOT_ALLOWED"}, actor
            assert said_by(stack, name, make(others))[0] == {"NOT_ALLOWED"}, actor
            continue
        if RULES[name].binding is not Binding.OWN or (name in PROVEN and who.queues):
            assert said.isdisjoint({"NOT_ALLOWED"}) or name in PROVEN, actor
            continue
        counts_nothing = name == "JobService.GetQueueStats" and who.customers
        assert not said & {"NOT_ALLOWED", "INVALID_FIELD", *_NOTHING} or counts_nothing, (actor, said)
        assert not any(one.endswith("_NOT_FOUND") for one in said), (actor, said)
        requests = make(others), make(each_world.nobody)
        (foreign, its_bytes), (absent, no_bytes) = (said_by(stack, name, one) for one in requests)
        assert foreign.isdisjoint({"NOT_ALLOWED"}), actor
        if who.is_bound:
            assert all(one in _NOTHING or one.endswith("_NOT_FOUND") for one in foreign), (actor, foreign)
            assert foreign == absent, actor
            assert without_ids(its_bytes, requests[0]) == without_ids(no_bytes, requests[1]), actor


def is_allowed(rule: Rule, who: Principal) -> bool:
    in_scope = who.scopes is None or rule.scope in who.scopes
    return who.kind in rule.callers and in_scope and (rule.binding is not Binding.NOTHING or not who.is_bound)
