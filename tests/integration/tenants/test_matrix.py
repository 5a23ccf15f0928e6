"""Every method, by every kind of caller, for what is its own, another tenant's and nobody's: as the contract says.

What is expected follows from the options of the contract and from the tables here, and from nothing of the product.
"""

import re
from typing import Any, Final, NamedTuple

import grpc
import pytest
from google.protobuf.message import Message

from innosystem.client import error_from, error_from_status
from innosystem.client.contract import services
from innosystem.jobs.v1 import job_service_pb2 as jobs
from innosystem.options.v1 import options_pb2
from tests.support.rpc.jobs_stack import JobsStack
from tests.support.rpc.tenant_requests import REQUESTS
from tests.support.rpc.tenants import TenantsWorld

METHODS = {f"{service.name}.{method.name}": method for service in services() for method in service.methods}
POLICIES = {name: method.GetOptions().Extensions[options_pb2.method] for name, method in METHODS.items()}


class Caller(NamedTuple):
    """A caller of the worlds: its kind, what it is bound to, and the scopes of its API key."""

    kind: int
    bound_to: str = ""
    scopes: frozenset[int] | None = None


_CLIENT, _RUNNER = options_pb2.CALLER_CLIENT, options_pb2.CALLER_RUNNER
_OPERATOR, _SERVICE = options_pb2.CALLER_OPERATOR, options_pb2.CALLER_SERVICE
_READ, _SUBMIT = options_pb2.SCOPE_READ, options_pb2.SCOPE_SUBMIT
CALLERS: Final = {
    "client/all": Caller(_CLIENT),
    "runner/all": Caller(_RUNNER),
    "operator/all": Caller(_OPERATOR),
    "service/all": Caller(_SERVICE),
    "client/a": Caller(_CLIENT, "customers"),
    "client/b": Caller(_CLIENT, "customers"),
    "client/ac": Caller(_CLIENT, "customers"),
    "operator/a": Caller(_OPERATOR, "customers"),
    "service/a": Caller(_SERVICE, "customers"),
    "runner/x": Caller(_RUNNER, "queues"),
    "key/read": Caller(_CLIENT, "customers", frozenset([_READ])),
    "key/submit": Caller(_CLIENT, "customers", frozenset([_SUBMIT])),
    "key/read+submit": Caller(_CLIENT, "customers", frozenset([_READ, _SUBMIT])),
}
#: What a method lets a caller of its kinds have: one that is not bound, and one that is.
REACH: Final = {
    options_pb2.BINDING_UNSPECIFIED: ("all", "nothing"),
    options_pb2.BINDING_OWN: ("all", "own"),
    options_pb2.BINDING_SHARED: ("all", "all"),
}
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


def reach(name: str, who: Caller) -> str:
    """Return what a caller has by a method: `all`, its `own`, or `nothing`."""
    policy = POLICIES[name]
    if who.kind not in policy.callers or (who.scopes is not None and policy.scope not in who.scopes):
        return "nothing"
    return REACH[policy.binding][bool(who.bound_to)]


def is_nothing(said: set[str]) -> bool:
    return all(one in _NOTHING or one.endswith("_NOT_FOUND") for one in said)


def test_every_method_has_a_request() -> None:
    assert REQUESTS.keys() == METHODS.keys()


def test_every_caller_is_in_the_table(each_world: TenantsWorld) -> None:
    assert each_world.principals.keys() <= CALLERS.keys()


@pytest.mark.parametrize("name", METHODS)
def test_a_call_without_credentials_or_with_wrong_ones_is_refused(each_world: TenantsWorld, name: str) -> None:
    request = REQUESTS[name](each_world.a)
    # Where the request has the credentials, none besides help: those of the request are wrong here.
    missing = "BAD_CREDENTIALS" if POLICIES[name].credential else "NO_CREDENTIALS"
    assert said_by(each_world.as_caller(""), name, request)[0] == {missing}
    refusals = {said_by(each_world.as_caller(wrong), name, request)[1] for wrong in each_world.refused}
    assert said_by(each_world.as_caller(each_world.refused[0]), name, request)[0] == {"BAD_CREDENTIALS"}
    assert len(refusals) == 1, refusals


@pytest.mark.parametrize("name", METHODS)
def test_a_method_treats_each_caller_as_the_contract_says(each_world: TenantsWorld, name: str) -> None:
    make = REQUESTS[name]
    for actor in each_world.principals:
        who = CALLERS[actor]
        others = each_world.a if actor == "client/b" else each_world.b
        own = each_world.b if actor == "client/b" else each_world.a
        stack = each_world.as_caller(actor)
        said, told = said_by(stack, name, make(own))
        if POLICIES[name].credential:
            assert said == {"BAD_CREDENTIALS"}, actor
            assert told == said_by(stack, name, make(others))[1] == said_by(stack, name, make(each_world.nobody))[1]
            continue
        if reach(name, who) == "nothing":
            assert said == {"NOT_ALLOWED"}, actor
            assert said_by(stack, name, make(others))[0] == {"NOT_ALLOWED"}, actor
            continue
        if name in PROVEN and who.kind == _RUNNER:
            continue
        assert "NOT_ALLOWED" not in said, actor
        if POLICIES[name].binding != options_pb2.BINDING_OWN:
            continue
        counts_nothing = name == "JobService.GetQueueStats" and who.bound_to == "customers"
        assert not said & {"INVALID_FIELD", *_NOTHING} or counts_nothing, (actor, said)
        assert not any(one.endswith("_NOT_FOUND") for one in said), (actor, said)
        requests = make(others), make(each_world.nobody)
        (foreign, its_bytes), (absent, no_bytes) = (said_by(stack, name, one) for one in requests)
        assert is_nothing(foreign) == (reach(name, who) == "own"), (actor, foreign)
        if who.bound_to:
            assert foreign == absent, actor
            assert without_ids(its_bytes, requests[0]) == without_ids(no_bytes, requests[1]), actor
