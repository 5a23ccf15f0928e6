"""Calls beyond a limit of their principal are refused, and those of others are not."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import pytest
from prometheus_client import REGISTRY

from innosystem.client import InnosystemError, error_from
from services.kit.auth.authentication import Authentication
from services.kit.auth.principal import Kind, Principal
from services.kit.limits.buckets import Buckets
from services.kit.limits.limits import Limits
from services.kit.limits.settings import LimitSettings
from tests.integration.kit.rpc.serving import ID, LIMIT_SECONDS, Gate, Running, running
from tests.support.until import until


class Names:
    """Tokens that are the names of clients."""

    def knows(self, token: str) -> bool:
        return True

    async def principal(self, token: str, peer: str) -> Principal:
        return Principal(kind=Kind.CLIENT, name=token, customers=frozenset([UUID(ID)]))


ON = Authentication(required=True, bearers=[Names()])


def limits(**settings: str) -> Limits:
    return Limits(LimitSettings(**settings), Buckets())  # type: ignore[arg-type] # pydantic converts it


def as_(name: str) -> dict[str, Any]:
    return {"metadata": [("authorization", f"Bearer {name}")]}


async def refusal(server: Running, name: str, customer_id: str = ID) -> tuple[InnosystemError, dict[str, str]]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.get(customer_id, **as_(name))
    error = error_from(caught.value)
    assert error is not None
    return error, {key: str(value) for key, value in caught.value.trailing_metadata() or ()}


async def test_a_refusal_names_the_limit_and_when_there_will_be_room(tmp_path: Path) -> None:
    async with running(tmp_path, authentication=ON, limits=limits(client_requests="0.1/2")) as server:
        await server.get(**as_("ada"))
        await server.get(**as_("ada"))
        error, metadata = await refusal(server, "ada")
        assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
        assert error.metadata == {"limit": "client_requests", "allowed": "0.1/2"}
        assert error.retry_after_seconds == pytest.approx(10, abs=1)
        assert float(metadata["grpc-retry-pushback-ms"]) >= 9000


async def test_the_request_of_a_refused_call_is_not_parsed(tmp_path: Path) -> None:
    async with running(tmp_path, authentication=ON, limits=limits(client_requests="0.1/1")) as server:
        await server.get(**as_("ada"))
        error, _ = await refusal(server, "ada", "not an ID")
        assert error.reason == "RATE_LIMITED"


async def test_a_noisy_principal_is_refused_while_the_calls_of_others_succeed(tmp_path: Path) -> None:
    refused = 0

    async def noise(server: Running, quiet: asyncio.Event) -> None:
        nonlocal refused
        while not quiet.is_set():
            try:
                await server.get(**as_("noisy"))
            except grpc.aio.AioRpcError as error:
                refused += error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    own = limits(client_requests="20/20", customer_requests="0")
    async with running(tmp_path, authentication=ON, limits=own) as server:
        quiet = asyncio.Event()
        noises = [asyncio.create_task(noise(server, quiet)) for _ in range(8)]
        for _ in range(15):
            await server.get(**as_("quiet"))
        await until(lambda: refused, LIMIT_SECONDS)
        quiet.set()
        await asyncio.gather(*noises)
    assert refused > 0


async def test_one_principal_cannot_take_all_places_of_a_server(tmp_path: Path) -> None:
    gate = Gate()
    own = limits(client_calls="2")
    async with running(tmp_path, gate, authentication=ON, limits=own, concurrent_calls_max=4) as server:
        waiting = [asyncio.create_task(server.get(**as_("ada"))) for _ in range(2)]
        await until(lambda: server.load.calls == 2, LIMIT_SECONDS)
        error, _ = await refusal(server, "ada")
        assert error.metadata["limit"] == "client_calls"
        other = asyncio.create_task(server.get(**as_("bob")))
        gate.opened.set()
        await asyncio.gather(*waiting, other)
        await server.get(**as_("ada"))


async def test_refusals_are_counted_by_limit_and_not_by_caller(tmp_path: Path) -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("innosystem_rate_limited_total", {"limit": "customer_requests"}) or 0

    before = counted()
    async with running(tmp_path, authentication=ON, limits=limits(customer_requests="0.1/1")) as server:
        await server.get(**as_("ada"))
        await refusal(server, "bob")
    assert counted() == before + 1
