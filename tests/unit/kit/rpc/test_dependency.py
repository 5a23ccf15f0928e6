"""The circuit breaker for calls of an unavailable service."""

import asyncio
from typing import Any

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from services.kit.errors import DatabaseUnavailable, DependencyUnavailable
from services.kit.rpc.dependency import Dependency
from services.kit.rpc.status import to_status

NOBODY_THERE = AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata())
TOO_SLOW = AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, Metadata(), Metadata())
NO_DATABASE = AioRpcError(
    grpc.StatusCode.UNAVAILABLE,
    Metadata(),
    Metadata(("grpc-status-details-bin", to_status(DatabaseUnavailable()).SerializeToString())),
)


class Service:
    """Succeeds, or fails with the given errors; counts its calls."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.calls = 0
        self.failure: AioRpcError | None = None
        self.dependency = Dependency("wallets", now=lambda: self.seconds)

    async def method(self, request: str, timeout: float) -> str:
        self.calls += 1
        if self.failure is not None:
            raise self.failure
        return f"response to {request}"

    async def ask(self) -> Any:
        return await self.dependency.call(self.method, "a question", [1.0])

    async def told_to_wait(self) -> float:
        with pytest.raises(DependencyUnavailable) as caught:
            await self.ask()
        assert caught.value.retry_after_seconds is not None
        return caught.value.retry_after_seconds


async def test_a_service_that_failed_twice_is_probed_after_a_growing_pause_and_callers_wait_as_long() -> None:
    service = Service()
    service.failure = NOBODY_THERE
    waits = [await service.told_to_wait(), await service.told_to_wait()]
    for _ in range(6):
        called = service.calls
        assert [await service.told_to_wait() for _ in range(100)] == [waits[-1]] * 100
        assert service.calls == called
        service.seconds += waits[-1]
        waits.append(await service.told_to_wait())
        assert service.calls == called + 1
    assert waits == [0.5, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]


async def test_a_recovered_service_is_called_by_all_callers_immediately() -> None:
    service = Service()
    service.failure = NOBODY_THERE
    wait = [await service.told_to_wait() for _ in range(2)][-1]
    service.failure = None
    service.seconds += wait
    assert [await service.ask() for _ in range(3)] == ["response to a question"] * 3


async def test_only_one_call_looks_whether_the_service_is_back() -> None:
    service = Service()
    service.failure = NOBODY_THERE
    wait = [await service.told_to_wait() for _ in range(2)][-1]
    service.seconds += wait
    looked: list[Exception] = []

    async def method(request: str, timeout: float) -> str:
        with pytest.raises(DependencyUnavailable) as caught:
            await service.ask()
        looked.append(caught.value)
        return "it is back"

    assert await service.dependency.call(method, "a question", [1.0]) == "it is back"
    assert len(looked) == 1
    assert service.calls == 2


async def test_a_service_that_never_responds_is_as_unavailable_as_one_that_is_not_there() -> None:
    service = Service()
    service.failure = TOO_SLOW
    waits = [await service.told_to_wait(), await service.told_to_wait()]
    called = service.calls
    assert [await service.told_to_wait() for _ in range(100)] == [waits[-1]] * 100
    assert service.calls == called
    service.failure = None
    service.seconds += waits[-1]
    assert await service.ask() == "response to a question"


@pytest.mark.parametrize(("seconds", "calls"), [(3.0, 2), (0.5, 5)])
async def test_callers_that_leave_after_two_attempts_without_a_response_have_seen_an_unavailable_service(
    seconds: float, calls: int
) -> None:
    service = Service()
    called = 0

    async def never(request: str, timeout: float) -> str:
        nonlocal called
        called += 1
        service.seconds += seconds
        raise asyncio.CancelledError

    for _ in range(5):
        with pytest.raises((asyncio.CancelledError, DependencyUnavailable)):
            await service.dependency.call(never, "a question", [1.0, 2.0, 3.0])
    assert called == calls


async def test_what_a_replica_says_says_nothing_of_the_next_call() -> None:
    service = Service()
    service.failure = NO_DATABASE
    for _ in range(5):
        with pytest.raises(AioRpcError):
            await service.ask()
    assert service.calls == 5


async def test_failures_apart_from_each_other_are_no_outage() -> None:
    service = Service()
    for _ in range(5):
        service.failure = NOBODY_THERE
        await service.told_to_wait()
        service.failure = None
        assert await service.ask()
