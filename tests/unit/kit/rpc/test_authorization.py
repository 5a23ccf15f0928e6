"""Streams are checked again while they last, and end when their credentials are no longer known to be good."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from services.kit.auth.authentication import Authentication
from services.kit.auth.principal import Kind, Principal
from services.kit.auth.rule import Binding, Rule
from services.kit.errors import DatabaseUnavailable, DependencyUnavailable, DomainError, Overloaded
from services.kit.rpc.layers import authorization
from tests.support.until import until

WHO = Principal(kind=Kind.CLIENT, name="app", credential="token")
RULE = Rule(method="WatchJob", callers=frozenset([Kind.CLIENT]), binding=Binding.OWN)
UNKNOWN = [DependencyUnavailable("customers"), DatabaseUnavailable(), Overloaded()]


class Context:
    """A call with a token."""

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", "Bearer token"),)

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"


class Watched:
    """A stream without an end, whose credentials are checked without pauses by a clock that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        monkeypatch.setattr(authorization, "STREAM_CHECK_SECONDS", 0.0)
        monkeypatch.setattr(authorization, "STREAM_RETRY_SECONDS", 0.0)
        monkeypatch.setattr(authorization, "monotonic", lambda: self.seconds)
        self.checks = 0
        self.failure: DomainError | None = None
        on = Authentication(required=True, bearers=[self], unchecked_seconds=30)
        call: Callable[[Any, Any], Any] = authorization.authorized(self._last, RULE, on, streams=True)
        self.call = asyncio.create_task(call(None, Context()))

    def knows(self, token: str) -> bool:
        return True

    async def principal(self, token: str, peer: str) -> Principal:
        self.checks += 1
        if self.failure is not None:
            raise self.failure
        return WHO

    async def _last(self, request: object, context: object) -> None:
        await asyncio.Event().wait()

    async def checked(self, seconds: float, failure: DomainError | None) -> bool:
        """Let several checks pass at a time, and return whether the stream has ended."""
        self.seconds, self.failure = seconds, failure
        enough = self.checks + 3
        await until(lambda: self.call.done() or self.checks >= enough)
        return self.call.done()


@pytest.mark.parametrize("failure", UNKNOWN, ids=lambda one: one.reason)
async def test_a_stream_whose_credentials_can_not_be_checked_ends_after_the_time_for_which_known_keys_go_on(
    monkeypatch: pytest.MonkeyPatch, failure: DomainError
) -> None:
    stream = Watched(monkeypatch)
    assert not await stream.checked(0.0, None)
    assert not await stream.checked(100.0, failure)
    assert not await stream.checked(129.9, failure)
    assert await stream.checked(130.0, failure)
    with pytest.raises(type(failure)):
        await stream.call


async def test_a_stream_whose_credentials_are_known_to_be_good_again_has_all_of_that_time_the_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = Watched(monkeypatch)
    steps = ((0.0, None), (100.0, UNKNOWN[0]), (129.0, None), (140.0, UNKNOWN[0]), (169.9, UNKNOWN[0]))
    for seconds, failure in steps:
        assert not await stream.checked(seconds, failure)
    assert await stream.checked(170.0, UNKNOWN[0])
    with pytest.raises(DependencyUnavailable):
        await stream.call
