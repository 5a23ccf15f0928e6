"""The contract says who may call a method; all others are refused."""

from uuid import uuid4

import pytest

from innosystem.client.contract import services
from innosystem.options.v1 import options_pb2
from services.kit.auth.principal import ANYONE, Kind, Principal, Scope
from services.kit.auth.rule import Binding, Rule
from services.kit.errors import NotAllowed
from tests.unit.kit.rpc.test_policy import method

RULES = {one.full_name: Rule.of(one) for service in services() for one in service.methods}
READ = RULES["innosystem.jobs.v1.JobService.GetJob"]
SUBMIT = RULES["innosystem.jobs.v1.JobService.CreateJob"]


def key(*scopes: Scope) -> Principal:
    return Principal(kind=Kind.CLIENT, name="ada", customers=frozenset([uuid4()]), scopes=frozenset(scopes))


def allows(rule: Rule, who: Principal) -> bool:
    try:
        rule.check(who)
    except NotAllowed:
        return False
    return True


@pytest.mark.parametrize("name", RULES)
def test_a_method_admits_the_kinds_that_its_policy_names_and_no_other(name: str) -> None:
    admitted = {kind for kind in Kind if allows(RULES[name], Principal(kind=kind, name="x"))}
    assert admitted == RULES[name].callers
    # A method whose request has the credentials is for no kind of caller, and any other one is for some.
    assert bool(admitted) != bool(RULES[name].credential)


@pytest.mark.parametrize("name", RULES)
def test_a_bound_caller_is_refused_where_no_binding_is_declared(name: str) -> None:
    for kind in RULES[name].callers:
        bound = Principal(kind=kind, name="x", customers=frozenset(), queues=frozenset())
        assert allows(RULES[name], bound) == (RULES[name].binding is not Binding.NOTHING)


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.callers & {Kind.CLIENT, Kind.RUNNER}])
def test_every_method_for_clients_and_runners_declares_a_binding(name: str) -> None:
    assert RULES[name].binding is not Binding.NOTHING


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if Kind.CLIENT in rule.callers])
def test_every_method_for_clients_declares_a_scope_and_a_key_without_it_is_refused(name: str) -> None:
    assert RULES[name].scope is not None
    assert [scope for scope in Scope if allows(RULES[name], key(scope))] == [RULES[name].scope]


def test_an_api_key_is_refused_where_no_scope_is_declared() -> None:
    rule = Rule(method="m", callers=frozenset(Kind), binding=Binding.OWN)
    assert not allows(rule, key(*Scope))


def test_a_method_without_a_policy_admits_nobody_who_authenticates() -> None:
    rule = Rule.of(method())
    assert not any(allows(rule, Principal(kind=kind, name="x")) for kind in Kind)


def test_a_caller_of_a_later_release_is_not_admitted() -> None:
    assert Rule.of(method(99, options_pb2.CALLER_RUNNER)).callers == {Kind.RUNNER}


def test_the_refusal_names_the_method_and_the_kind() -> None:
    with pytest.raises(NotAllowed, match="GetJob") as refused:
        READ.check(Principal(kind=Kind.SERVICE, name="wallets"))
    assert refused.value.metadata == {"method": "innosystem.jobs.v1.JobService.GetJob", "kind": "service"}


def test_where_no_authentication_is_required_everything_is_allowed() -> None:
    assert all(allows(rule, ANYONE) for rule in RULES.values())


def test_the_actor_is_the_kind_and_the_name() -> None:
    bound = Principal(kind=Kind.CLIENT, name="x", customers=frozenset([uuid4()]))
    assert bound.actor == "client/x"
    assert ANYONE.actor == ""
