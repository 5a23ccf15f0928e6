"""How a server starts, says that it is well, drains and stops."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse
from structlog.testing import capture_logs

from innosystem.client import error_from
from innosystem.customers.v1 import customer_service_pb2 as pb
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from services.kit.auth.authentication import OFF
from services.kit.rpc.serving.health import Health
from services.kit.rpc.serving.server import Server
from services.kit.settings import StartupError
from tests.integration.kit.rpc.serving import (
    ID,
    LIMIT_SECONDS,
    NAME,
    Customers,
    Gate,
    health_method,
    running,
    served,
    settings,
    until_health,
)

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


class Dependency:
    """Something that a service needs, and that a test breaks and mends."""

    def __init__(self, *, up: bool = True) -> None:
        self.up = up
        self.checks = 0

    async def check(self) -> None:
        self.checks += 1
        if not self.up:
            raise ConnectionRefusedError("nobody is there")


@asynccontextmanager
async def watching(health: Health) -> AsyncIterator[None]:
    await health.start()
    task = asyncio.create_task(health.watch())
    yield
    task.cancel()
    await asyncio.wait([task])


@asynccontextmanager
async def run(folder: Path, gate: Gate, **values: Any) -> AsyncIterator[tuple[Server, grpc.aio.Channel]]:
    """Runs a server as a process does, and checks that it ends by itself after a stop."""
    chosen = settings(folder, **values)
    server = Server(
        settings=chosen, served=[served(Customers(gate))], authentication=OFF, required={"database": Dependency().check}
    )
    task = asyncio.create_task(server.run())
    async with grpc.aio.insecure_channel(chosen.listen_address) as channel:
        async with asyncio.timeout(LIMIT_SECONDS):
            await channel.channel_ready()
        yield server, channel
        server.stop()
        async with asyncio.timeout(LIMIT_SECONDS):
            await task


def get(channel: grpc.aio.Channel) -> Any:
    return CustomerServiceStub(channel).GetCustomer(pb.GetCustomerRequest(customer_id=ID), timeout=LIMIT_SECONDS)


@pytest.mark.parametrize("service", ["", NAME])
async def test_health_follows_what_the_service_needs(tmp_path: Path, service: str) -> None:
    database = Dependency(up=False)
    health = Health([NAME], {"database": database.check}, period_seconds=0.01)
    with capture_logs() as lines:
        async with running(tmp_path, health=health) as server, watching(health):
            await until_health(server.channel, NOT_SERVING, service)
            for up, expected in ((True, SERVING), (False, NOT_SERVING), (True, SERVING)):
                database.up = up
                await until_health(server.channel, expected, service)

    told = [(line["event"], line["dependency"]) for line in lines if "dependency" in line]
    assert told == [
        ("dependency_down", "database"),
        ("dependency_up", "database"),
        ("dependency_down", "database"),
        ("dependency_up", "database"),
    ]
    assert "nobody is there" in next(line["error"] for line in lines if "error" in line)


async def test_one_of_several_needs_that_is_down_is_enough(tmp_path: Path) -> None:
    first, second = Dependency(), Dependency(up=False)
    health = Health([NAME], {"first": first.check, "second": second.check}, period_seconds=0.01)
    async with running(tmp_path, health=health) as server, watching(health):
        second.up = True
        await until_health(server.channel, SERVING)
        second.up = False
        await until_health(server.channel, NOT_SERVING)


async def test_what_a_service_can_do_without_is_only_logged(tmp_path: Path) -> None:
    database, queue = Dependency(), Dependency(up=False)
    health = Health([NAME], {"database": database.check}, {"redis": queue.check}, period_seconds=0.01)
    with capture_logs() as lines:
        async with running(tmp_path, health=health) as server, watching(health):
            await until_health(server.channel, SERVING)

    [line] = [line for line in lines if line.get("dependency") == "redis"]
    assert (line["event"], line["required"]) == ("dependency_down", False)


async def test_a_check_that_hangs_is_a_failure(tmp_path: Path) -> None:
    hanging = asyncio.Event()

    async def check() -> None:
        if not hanging.is_set():
            await hanging.wait()

    health = Health([NAME], {"database": check}, period_seconds=0.01, check_seconds_max=0.05)
    async with running(tmp_path, health=health) as server, watching(health):
        await until_health(server.channel, NOT_SERVING)
        hanging.set()
        await until_health(server.channel, SERVING)


async def test_the_pauses_between_checks_grow_while_a_dependency_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    database = Dependency(up=False)

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            database.up = True
        if len(pauses) == 10:
            raise asyncio.CancelledError

    monkeypatch.setattr("services.kit.rpc.serving.health.asyncio.sleep", sleep)
    with capture_logs(), pytest.raises(asyncio.CancelledError):
        await Health([NAME], {"database": database.check}).watch()

    assert pauses[:3] == [1.5, 2.25, 3.375]
    assert max(pauses) == 5.0
    assert pauses[8:] == [1.0, 1.0]


async def test_a_server_that_drains_finishes_calls_and_says_that_it_stops_serving(tmp_path: Path) -> None:
    gate = Gate()
    with capture_logs() as lines:
        async with run(tmp_path, gate) as (server, channel):
            await until_health(channel, SERVING)
            call = get(channel)
            await gate.wait_entered()

            # gRPC cancels calls that reach a server at the moment when it stops: the watch has to have begun.
            watching = asyncio.Event()
            leaving = asyncio.create_task(until_health(channel, NOT_SERVING, begun=watching))
            await watching.wait()
            server.stop()
            await leaving
            async with grpc.aio.insecure_channel(server.settings.listen_address) as late:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await get(late)
            gate.opened.set()
            response = await call

    assert response.customer.id == ID
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    events = [line["event"] for line in lines if line["event"] in {"serving", "draining", "stopped"}]
    assert events == ["serving", "draining", "stopped"]
    assert [line["calls"] for line in lines if line["event"] == "draining"] == [1]


async def test_a_drain_does_not_wait_for_who_watches_its_health_or_reads_the_contract(tmp_path: Path) -> None:
    seen: list[int] = []
    begun = asyncio.Event()

    async def watch(channel: grpc.aio.Channel) -> grpc.StatusCode:
        try:
            async for response in health_method(channel, "Watch")(HealthCheckRequest()):
                seen.append(response.status)
                if response.status == SERVING:
                    begun.set()
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    async with run(tmp_path, Gate(), drain_seconds=3600) as (server, channel):
        reflected = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            request_serializer=ServerReflectionRequest.SerializeToString,
            response_deserializer=ServerReflectionResponse.FromString,
        )()
        await reflected.write(ServerReflectionRequest(list_services=""))
        await reflected.read()
        watching = asyncio.create_task(watch(channel))
        async with asyncio.timeout(LIMIT_SECONDS):
            await begun.wait()
            server.stop()
            # Clients of health ask the next server then; NOT_SERVING is the last that they hear of this one.
            assert await watching is grpc.StatusCode.UNAVAILABLE
            assert await reflected.code() is grpc.StatusCode.UNAVAILABLE
    assert seen[-1] == NOT_SERVING


async def test_a_drain_does_not_wait_for_ever(tmp_path: Path) -> None:
    gate = Gate()
    async with run(tmp_path, gate, drain_seconds=0.05) as (server, channel):
        call = get(channel)
        await gate.wait_entered()
        server.stop()
        with pytest.raises(grpc.aio.AioRpcError):
            await call


async def test_calls_that_reach_a_draining_server_are_refused_and_sent_elsewhere(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        server.load.draining = True
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.get()

    details = error_from(caught.value)
    assert details is not None
    assert (details.code, details.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert details.retry_after_seconds is not None


async def test_what_runs_beside_the_server_takes_it_down_when_it_fails(tmp_path: Path) -> None:
    async def fails() -> None:
        raise RuntimeError("no dispatcher")

    server = Server(
        settings=settings(tmp_path), served=[served(Customers())], authentication=OFF, required={}, background=[fails]
    )
    with capture_logs(), pytest.raises(RuntimeError, match="no dispatcher"):
        await server.run()


async def test_an_address_that_can_not_be_used_is_one_clear_error(tmp_path: Path) -> None:
    chosen = settings(tmp_path / "missing")
    server = Server(settings=chosen, served=[served(Customers())], authentication=OFF, required={})

    with pytest.raises(StartupError, match=r"can't listen on unix:.*missing"):
        await server.run()


async def test_reflection_can_be_turned_off(tmp_path: Path) -> None:
    def services() -> list[str]:
        with grpc.insecure_channel(f"unix:{tmp_path / 's'}") as channel:
            return list(ProtoReflectionDescriptorDatabase(channel).get_services())

    async with running(tmp_path):
        assert NAME in await asyncio.to_thread(services)
    async with running(tmp_path, reflection=False):
        with pytest.raises(grpc.RpcError):
            await asyncio.to_thread(services)
