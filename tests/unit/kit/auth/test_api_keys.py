"""API keys are looked up once and remembered for seconds; wrong ones cost little, however many there are."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from secrets import token_urlsafe
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from services.kit.auth.api_keys import ApiKeys, KnownKeys, ResolvedKey
from services.kit.auth.principal import Kind, Principal, Scope
from services.kit.auth.settings import ApiKeySettings
from services.kit.errors import BadCredentials, DatabaseUnavailable, DependencyUnavailable, DomainError, Overloaded

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = ApiKeySettings(ttl_seconds=5, stale_seconds=30, cache_size=100)


def new_key() -> str:
    return "inno_" + token_urlsafe(32)


def digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()


class World:
    """A customers service with keys, a clock, and the keys that a service remembers."""

    def __init__(self, settings: ApiKeySettings = SETTINGS) -> None:
        self.seconds = 0.0
        self.keys: dict[str, ResolvedKey] = {}
        self.lookups: Counter[str] = Counter()
        self.in_flight = 0
        self.in_flight_max = 0
        self.failure: DomainError | None = None
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.known = KnownKeys(settings, lambda: self.seconds)
        self.api_keys = ApiKeys(self.resolve, self.known, lambda: NOW + timedelta(seconds=self.seconds))

    def add(self, **values: object) -> str:
        token = new_key()
        scopes = frozenset(Scope)
        self.keys[token] = ResolvedKey(**{"key_id": uuid4(), "customer_id": uuid4(), "scopes": scopes, **values})  # type: ignore[arg-type]
        return token

    async def resolve(self, token: str) -> ResolvedKey:
        self.lookups[token] += 1
        self.asked.set()
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            await self.gate.wait()
        finally:
            self.in_flight -= 1
        if self.failure is not None:
            raise self.failure
        if token not in self.keys:
            raise BadCredentials
        return self.keys[token]

    async def refusal(self, token: str) -> type[DomainError] | None:
        try:
            await self.api_keys.principal(token)
        except DomainError as error:
            return type(error)
        return None


async def counted(world: World, tokens: Iterable[str]) -> Counter[type[DomainError] | None]:
    return Counter(await asyncio.gather(*(world.refusal(token) for token in tokens)))


async def test_the_principal_of_a_key_is_bound_to_its_customer_and_scopes() -> None:
    world, customer_id, key_id = World(), uuid4(), uuid4()
    token = world.add(customer_id=customer_id, key_id=key_id, scopes=frozenset([Scope.READ]))
    who = await world.api_keys.principal(token)
    assert who == Principal(
        kind=Kind.CLIENT,
        name=f"{customer_id}/{key_id}",
        customers=frozenset([customer_id]),
        scopes=frozenset([Scope.READ]),
        credential="api_key",
    )
    assert who.actor == f"client/{customer_id}/{key_id}"


@pytest.mark.parametrize(
    "token", ["inno_", "inno_" + "x" * 42, "inno_" + "x" * 44, "inno_" + "é" * 43, "inno_" + "x" * 43 + "\n"]
)
async def test_what_does_not_have_the_form_of_a_key_is_refused_without_a_lookup(token: str) -> None:
    world = World()
    assert world.api_keys.knows(token)
    assert await world.refusal(token) is BadCredentials
    assert not world.lookups


def test_other_tokens_are_left_to_others() -> None:
    assert not World().api_keys.knows("eyJhbGciOiJFZERTQSJ9.e30.x")


async def test_a_key_is_looked_up_once_for_many_calls_and_again_after_its_time() -> None:
    world = World()
    token = world.add()
    assert await counted(world, [token] * 100) == {None: 100}
    world.seconds = 4.9
    assert await world.refusal(token) is None
    assert world.lookups[token] == 1
    world.seconds = 5.1
    assert await counted(world, [token] * 100) == {None: 100}
    assert world.lookups[token] == 2


async def test_a_revoked_key_is_refused_after_its_time_at_the_latest() -> None:
    world = World()
    token = world.add()
    assert await world.refusal(token) is None
    del world.keys[token]
    world.seconds = 4.9
    assert await world.refusal(token) is None
    world.seconds = 5.0
    assert await world.refusal(token) is BadCredentials


async def test_a_revoked_key_is_refused_as_soon_as_that_is_told() -> None:
    world = World()
    token, other = world.add(), world.add()
    assert await counted(world, [token, other]) == {None: 2}
    del world.keys[token]
    world.known.forget([digest(token)])
    assert await world.refusal(token) is BadCredentials
    assert await world.refusal(other) is None
    assert world.lookups[other] == 1


async def test_a_key_that_is_revoked_during_its_lookup_does_not_go_on_while_the_service_is_away() -> None:
    world = World()
    token = world.add()
    world.gate.clear()
    call = asyncio.create_task(world.refusal(token))
    await world.asked.wait()
    world.known.forget([digest(token)])
    world.gate.set()
    assert await call is None
    world.failure = DependencyUnavailable("customers")
    assert await world.refusal(token) is DependencyUnavailable


async def test_a_key_ends_at_its_time_even_if_it_is_remembered() -> None:
    world = World()
    token = world.add(expires_at=NOW + timedelta(seconds=2))
    assert await world.refusal(token) is None
    world.seconds = 2.0
    assert await world.refusal(token) is BadCredentials
    assert world.lookups[token] == 1


async def test_a_wrong_key_is_looked_up_once_in_a_second() -> None:
    world = World()
    token = new_key()
    for _ in range(10):
        assert await world.refusal(token) is BadCredentials
    assert world.lookups[token] == 1
    world.seconds = 1.1
    assert await world.refusal(token) is BadCredentials
    assert world.lookups[token] == 2


@pytest.mark.parametrize("failure", [DependencyUnavailable("customers"), DatabaseUnavailable()])
async def test_without_an_answer_known_keys_go_on_for_a_bounded_time_and_unknown_ones_are_unavailable(
    failure: DomainError,
) -> None:
    world = World()
    token, unknown = world.add(), world.add()
    assert await world.refusal(token) is None
    world.failure = failure
    for seconds in (6.0, 12.0, 29.0, 33.9):
        world.seconds = seconds
        assert await world.refusal(token) is None
        assert await world.refusal(unknown) is type(failure)
    # The last of them was the response to a lookup at 29 s, which counts for 5 s.
    world.seconds = 34.1
    assert await world.refusal(token) is type(failure)
    world.failure = None
    assert await counted(world, [token, unknown]) == {None: 2}


async def test_a_known_key_goes_on_if_the_answer_takes_long() -> None:
    world = World()
    token = world.add()
    assert await world.refusal(token) is None
    world.gate.clear()
    world.seconds = 6.0
    async with asyncio.timeout(5):
        assert await world.refusal(token) is None


async def test_after_a_gap_in_the_messages_all_keys_are_looked_up_again_and_go_on_without_an_answer() -> None:
    world = World()
    token, revoked = world.add(), world.add()
    assert await counted(world, [token, revoked]) == {None: 2}
    del world.keys[revoked]
    world.known.forget(None)
    assert await world.refusal(revoked) is BadCredentials
    world.failure = DependencyUnavailable("customers")
    assert await world.refusal(token) is None
    assert await world.refusal(revoked) is BadCredentials


async def test_ten_thousand_wrong_keys_cause_bounded_lookups_and_memory_and_known_keys_go_on() -> None:
    world = World()
    known, cold = world.add(), world.add()
    assert await world.refusal(known) is None
    world.seconds = 6.0
    refusals: Counter[type[DomainError] | None] = Counter()
    for _ in range(100):
        refusals += await counted(world, [new_key() for _ in range(100)])
        assert await world.refusal(known) is None
    assert set(refusals) == {BadCredentials, Overloaded}
    assert sum(world.lookups.values()) <= 200 + 50 + 2
    assert world.in_flight_max <= 50
    assert world.lookups[known] == 2
    assert await world.refusal(cold) is Overloaded
    assert world.known.statistics().size == 1
    assert len(world.api_keys._wrong) <= 200 + 50
    world.seconds = 7.1
    assert await world.refusal(cold) is None


async def test_few_unknown_keys_are_looked_up_at_the_same_moment_and_known_ones_beside_them() -> None:
    world = World()
    known = world.add()
    assert await world.refusal(known) is None
    world.seconds = 6.0
    world.gate.clear()
    world.asked.clear()
    waiting = [asyncio.create_task(world.refusal(new_key())) for _ in range(200)]
    known_call = asyncio.create_task(world.refusal(known))
    await world.asked.wait()
    world.gate.set()
    assert Counter(await asyncio.gather(*waiting)) == {Overloaded: 150, BadCredentials: 50}
    assert await known_call is None
    assert world.in_flight_max == 51


async def test_calls_that_wait_for_lookups_are_bounded_and_known_keys_are_not_refused() -> None:
    world = World()
    known, wrong = world.add(), new_key()
    assert await world.refusal(known) is None
    world.gate.clear()
    world.asked.clear()
    waiting = [asyncio.create_task(world.refusal(wrong)) for _ in range(1500)]
    await world.asked.wait()
    assert sum(one.done() for one in waiting) == 500
    assert await world.refusal(known) is None
    world.gate.set()
    assert Counter(await asyncio.gather(*waiting)) == {Overloaded: 500, BadCredentials: 1000}
    assert world.lookups[wrong] == 1


async def test_no_log_line_and_no_error_holds_a_key() -> None:
    world = World()
    wrong, known = new_key(), world.add()
    results: list[object] = []
    with capture_logs() as lines:
        for failure in (None, DependencyUnavailable("customers")):
            world.failure = failure
            calls = (world.api_keys.principal(token) for token in (wrong, known, new_key()))
            results += await asyncio.gather(*calls, return_exceptions=True)
            world.seconds += 6
    said = " ".join(f"{one!r} {one} {getattr(one, 'metadata', '')}" for one in [*results, *lines])
    assert "BadCredentials" in said
    assert "inno_" not in said


def test_a_remembered_key_works_for_five_seconds_at_most() -> None:
    with pytest.raises(ValueError, match="less than or equal to 5"):
        ApiKeySettings(ttl_seconds=5.1)
