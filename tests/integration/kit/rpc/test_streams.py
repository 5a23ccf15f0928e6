"""Methods that stream their responses, and methods that the contract says too little about."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from structlog.testing import capture_logs

from innosystem.client import error_from
from innosystem.customers.v1 import customer_service_pb2 as pb
from innosystem.customers.v1.customer_pb2 import Customer
from innosystem.options.v1 import options_pb2
from services.kit.auth.authentication import OFF
from services.kit.errors import EtagMismatch
from services.kit.observability.logs import add_call
from services.kit.rpc.layers.stack import Layers, Load
from services.kit.rpc.serving.health import Health
from services.kit.rpc.serving.server import Served, Server
from services.kit.settings import StartupError
from tests.integration.kit.rpc.serving import ID, LIMIT_SECONDS, Context, settings

Behavior = Callable[[pb.GetCustomerRequest, Context], Any]


def service(name: str, *, policy: bool) -> ServiceDescriptor:
    """A service that no contract of ours has, with one method that streams customers."""
    pool = descriptor_pool.Default()
    file = FileDescriptorProto(name=f"tests/{name}.proto", package="tests", syntax="proto3")
    file.dependency.append("innosystem/customers/v1/customer_service.proto")
    method = file.service.add(name=name).method.add(
        name="Watch",
        input_type=".innosystem.customers.v1.GetCustomerRequest",
        output_type=".innosystem.customers.v1.GetCustomerResponse",
        server_streaming=True,
    )
    if policy:
        declared = method.options.Extensions[options_pb2.method]
        declared.callers.append(options_pb2.CALLER_CLIENT)
        declared.repeat = options_pb2.REPEAT_SAFE
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName(f"tests.{name}")


@pytest.fixture(scope="module")
def watched() -> ServiceDescriptor:
    return service("Watched", policy=True)


@pytest.fixture(scope="module")
def unruled() -> ServiceDescriptor:
    return service("Unruled", policy=False)


def registering(name: str, behavior: Behavior) -> Callable[[grpc.aio.Server], None]:
    handler = grpc.unary_stream_rpc_method_handler(
        behavior,
        request_deserializer=pb.GetCustomerRequest.FromString,
        response_serializer=pb.GetCustomerResponse.SerializeToString,
    )
    return lambda server: server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(name, {"Watch": handler}),)
    )


class Watched:
    """A server with the streaming method."""

    def __init__(self, folder: Path, descriptor: ServiceDescriptor, behavior: Behavior) -> None:
        self._settings = settings(folder, deadline_seconds_max=1e-6)
        self._served = Served(descriptor, registering(descriptor.full_name, behavior))
        self._method = f"/{descriptor.full_name}/Watch"
        self.load = Load(10, 10)

    async def __aenter__(self) -> "Watched":
        one = Server(settings=self._settings, served=[self._served], authentication=OFF, required={})
        self._server = one.build(Layers(self.load, self._settings.deadline_seconds_max, OFF), Health([], {}))
        self._server.add_insecure_port(self._settings.listen_address)
        await self._server.start()
        self._channel = grpc.aio.insecure_channel(self._settings.listen_address)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()
        await self._server.stop(None)

    def watch(self, customer_id: str = ID, timeout: float | None = None) -> Any:
        call = self._channel.unary_stream(
            self._method,
            request_serializer=pb.GetCustomerRequest.SerializeToString,
            response_deserializer=pb.GetCustomerResponse.FromString,
        )
        return call(pb.GetCustomerRequest(customer_id=customer_id), timeout=timeout)


async def three(request: pb.GetCustomerRequest, context: Context) -> AsyncIterator[pb.GetCustomerResponse]:
    for number in range(3):
        await asyncio.sleep(0)
        yield pb.GetCustomerResponse(customer=Customer(id=request.customer_id, name=str(number)))


async def written(request: pb.GetCustomerRequest, context: Context) -> None:
    async for response in three(request, context):
        await context.write(response)


@pytest.mark.parametrize("behavior", [three, written], ids=["generator", "writer"])
async def test_a_stream_passes_the_layers_and_outlasts_the_servers_default_deadline(
    tmp_path: Path, watched: ServiceDescriptor, behavior: Behavior
) -> None:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars, add_call]) as lines:
        async with Watched(tmp_path, watched, behavior) as server:
            names = [response.customer.name async for response in server.watch()]

    assert names == ["0", "1", "2"]
    [call] = [line for line in lines if line["event"] == "call"]
    assert (call["method"], call["code"]) == ("/tests.Watched/Watch", "OK")


async def test_a_stream_that_fails_midway_has_sent_what_came_before(tmp_path: Path, watched: ServiceDescriptor) -> None:
    async def behavior(request: pb.GetCustomerRequest, context: Context) -> AsyncIterator[pb.GetCustomerResponse]:
        yield pb.GetCustomerResponse()
        raise EtagMismatch

    async with Watched(tmp_path, watched, behavior) as server:
        stream = server.watch()
        received = await stream.read()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()

    details = error_from(caught.value)
    assert received == pb.GetCustomerResponse()
    assert details is not None
    assert details.reason == "ETAG_MISMATCH"


async def test_the_request_of_a_stream_is_checked(tmp_path: Path, watched: ServiceDescriptor) -> None:
    async with Watched(tmp_path, watched, three) as server:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.watch(customer_id="nonsense").read()

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("ending", ["cancelled", "deadline"])
async def test_a_stream_that_its_reader_leaves_is_closed_in_its_own_call(
    tmp_path: Path, watched: ServiceDescriptor, ending: str
) -> None:
    closed = asyncio.Event()
    tasks = set()

    async def behavior(request: pb.GetCustomerRequest, context: Context) -> AsyncIterator[pb.GetCustomerResponse]:
        tasks.add(asyncio.current_task())
        try:
            yield pb.GetCustomerResponse()
            await asyncio.Event().wait()
        finally:
            tasks.add(asyncio.current_task())
            closed.set()

    with capture_logs() as lines:
        async with Watched(tmp_path, watched, behavior) as server:
            stream = server.watch(timeout=0.1 if ending == "deadline" else None)
            await stream.read()
            if ending == "cancelled":
                stream.cancel()
            async with asyncio.timeout(LIMIT_SECONDS):
                await closed.wait()

    assert len(tasks) == 1
    assert server.load.streams == 0
    expected = "DEADLINE_EXCEEDED" if ending == "deadline" else "CANCELLED"
    assert [line["code"] for line in lines if line["event"] == "call"] == [expected]
    assert [line for line in lines if line["log_level"] == "error"] == []


async def test_a_stream_that_waits_for_a_slow_reader_is_closed_in_its_own_call_too(
    tmp_path: Path, watched: ServiceDescriptor
) -> None:
    closed = asyncio.Event()
    tasks = set()

    async def behavior(request: pb.GetCustomerRequest, context: Context) -> AsyncIterator[pb.GetCustomerResponse]:
        tasks.add(asyncio.current_task())
        try:
            while True:
                # More than fits into the windows of the connection: what is waited for is the write, outside of here.
                yield pb.GetCustomerResponse(customer=Customer(name="x" * 1_000_000))
        finally:
            tasks.add(asyncio.current_task())
            closed.set()

    async with Watched(tmp_path, watched, behavior) as server:
        stream = server.watch()
        await stream.read()
        stream.cancel()
        async with asyncio.timeout(LIMIT_SECONDS):
            await closed.wait()

    assert len(tasks) == 1


async def test_a_method_without_a_policy_keeps_the_server_from_starting(
    tmp_path: Path, unruled: ServiceDescriptor
) -> None:
    served = Served(unruled, registering(unruled.full_name, three))
    server = Server(settings=settings(tmp_path), served=[served], authentication=OFF, required={})

    with pytest.raises(StartupError, match=r"tests\.Unruled\.Watch has no policy.*innosystem\.options\.v1\.method"):
        await server.run()


async def test_a_service_that_is_registered_beside_the_declared_one_is_found_out(
    tmp_path: Path, watched: ServiceDescriptor, unruled: ServiceDescriptor
) -> None:
    served = Served(watched, registering(unruled.full_name, three))
    server = Server(settings=settings(tmp_path), served=[served], authentication=OFF, required={})

    with pytest.raises(StartupError, match=r"tests\.Unruled\.Watch has no policy"):
        await server.run()


async def test_a_service_that_no_contract_describes_keeps_the_server_from_starting(
    tmp_path: Path, watched: ServiceDescriptor
) -> None:
    server = Server(
        settings=settings(tmp_path),
        served=[Served(watched, registering("tests.Unknown", three))],
        authentication=OFF,
        required={},
    )

    with pytest.raises(StartupError, match=r"tests\.Unknown"):
        await server.run()


async def test_streams_are_limited_and_do_not_count_as_calls(tmp_path: Path, watched: ServiceDescriptor) -> None:
    async def lasting(request: pb.GetCustomerRequest, context: Context) -> AsyncIterator[pb.GetCustomerResponse]:
        yield pb.GetCustomerResponse()
        await asyncio.Event().wait()

    async with Watched(tmp_path, watched, lasting) as server:
        server.load.streams_max = 1
        first = server.watch()
        await first.read()
        assert (server.load.streams, server.load.calls) == (1, 0)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.watch().read()
        first.cancel()

    details = error_from(caught.value)
    assert details is not None
    assert details.reason == "OVERLOADED"
