"""Who is limited by what."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.kit.auth.principal import ANYONE, Kind, Principal
from services.kit.errors import RateLimited
from services.kit.limits.buckets import Buckets
from services.kit.limits.limits import Limits, Submitted
from services.kit.limits.settings import LimitSettings
from services.kit.rates import CustomerLimits, Rate

CUSTOMER = uuid4()


def limits(**settings: Any) -> Limits:
    zero: dict[str, Any] = dict.fromkeys(LimitSettings.model_fields, "0")
    return Limits(LimitSettings(**zero | settings), Buckets(clock=lambda: 0.0))


def client(name: str = "key-1", *customers: UUID, own: CustomerLimits | None = None) -> Principal:
    bound = frozenset(customers) if customers else None
    return Principal(kind=Kind.CLIENT, name=name, customers=bound, limits=own or CustomerLimits())


def accepted(one: Limits, who: Principal, *, streams: bool = False) -> bool:
    try:
        with call(one, who, streams=streams):
            return True
    except RateLimited:
        return False


@contextmanager
def call(one: Limits, who: Principal, *, streams: bool = False) -> Iterator[None]:
    place = one.begin(who, streams=streams)
    try:
        yield
    finally:
        if place is not None:
            one.end(place)


def submitted(one: Limits, who: Principal, jobs: int, customer_id: UUID = CUSTOMER, **own: Any) -> list[str]:
    costs = {customer_id: Submitted(jobs, 10 * jobs)}
    exceptions = {customer_id: CustomerLimits(**own)}
    return [error.limit for error in one.submit(who, costs, exceptions).values()]


def test_a_principal_that_is_refused_does_not_keep_others_out() -> None:
    one = limits(client_requests="1/2")
    assert [accepted(one, client("noisy")) for _ in range(5)] == [True, True, False, False, False]
    assert accepted(one, client("quiet"))
    assert accepted(one, Principal(kind=Kind.OPERATOR, name="noisy"))


def test_the_keys_of_a_customer_share_its_limit() -> None:
    one = limits(client_requests="1/100", customer_requests="1/2")
    assert accepted(one, client("key-1", CUSTOMER))
    assert accepted(one, client("key-2", CUSTOMER))
    with pytest.raises(RateLimited) as caught, call(one, client("key-3", CUSTOMER)):
        pass
    assert caught.value.limit == "customer_requests"
    assert accepted(one, client("key-4", uuid4()))


@pytest.mark.parametrize("kind", [Kind.RUNNER, Kind.SERVICE])
def test_runners_and_services_are_not_limited_by_default(kind: Kind) -> None:
    one = Limits(LimitSettings(), Buckets(clock=lambda: 0.0))
    with ExitStack() as in_flight:
        for _ in range(10_000):
            in_flight.enter_context(call(one, Principal(kind=kind, name="a")))


def test_without_authentication_nobody_is_limited() -> None:
    one = limits(client_requests="1/1")
    assert all(accepted(one, ANYONE) for _ in range(100))


def test_calls_in_flight_are_limited_and_their_places_are_free_again() -> None:
    one = limits(client_calls=2, client_watches=1)
    with call(one, client()), call(one, client()):
        assert not accepted(one, client())
        assert accepted(one, client("other"))
        with call(one, client(), streams=True):
            assert not accepted(one, client(), streams=True)
    assert accepted(one, client())
    assert accepted(one, client(), streams=True)
    assert one._open == {}


def test_a_call_that_fails_frees_its_place() -> None:
    one = limits(client_calls=1)
    with pytest.raises(ZeroDivisionError), call(one, client()):
        raise ZeroDivisionError
    assert accepted(one, client())


def test_a_batch_costs_its_jobs_and_an_exception_of_the_customer_replaces_the_setting() -> None:
    one = limits(customer_submissions="1/100")
    assert submitted(one, client(), 99) == []
    assert submitted(one, client(), 2) == ["customer_submissions"]
    assert submitted(one, client(), 1) == []
    assert submitted(one, client(), 1, submissions=Rate(1, 101)) == []
    assert submitted(one, client(), 1000, submissions=Rate(0, 1)) == []


def test_the_bytes_of_a_day_are_limited() -> None:
    one = limits(customer_input_bytes_per_day=1000)
    assert submitted(one, client(), 100) == []
    assert submitted(one, client(), 1) == ["customer_input_bytes_per_day"]
    assert submitted(one, client(), 1, input_bytes_per_day=1010) == []


def test_a_client_of_many_customers_is_refused_only_for_those_without_room() -> None:
    one, other = limits(customer_submissions="1/10"), uuid4()
    assert submitted(one, client(), 10) == []
    costs = {CUSTOMER: Submitted(1, 1), other: Submitted(1, 1)}
    assert one.submit(client(), costs, {}).keys() == {CUSTOMER}


def test_submissions_of_operators_do_not_count_for_the_customer() -> None:
    one = limits(customer_submissions="1/1", operator_submissions="1/10")
    operator = Principal(kind=Kind.OPERATOR, name="ada")
    assert submitted(one, operator, 10) == []
    with pytest.raises(RateLimited):
        submitted(one, operator, 1)
    assert submitted(one, client(), 1) == []


def test_an_exception_of_the_customer_replaces_its_limit_of_requests() -> None:
    one = limits(customer_requests="1/1")
    own = CustomerLimits(requests=Rate(1, 3))
    assert [accepted(one, client("key", CUSTOMER, own=own)) for _ in range(4)] == [True, True, True, False]
