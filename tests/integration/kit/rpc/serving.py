"""A real server with all its layers on a unix socket, around a servicer that does what a test says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from innosystem.customers.v1 import customer_service_pb2 as pb
from innosystem.customers.v1.customer_pb2 import Customer
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from services.kit.auth.authentication import OFF, Authentication
from services.kit.auth.tenants import Tenants
from services.kit.limits.limits import UNLIMITED, Limits
from services.kit.rpc.for_tenants import for_tenants
from services.kit.rpc.layers.stack import Layers, Load
from services.kit.rpc.serving.health import Health
from services.kit.rpc.serving.server import Served, Server
from services.kit.settings import ServerSettings

ID = "0190a2b2-0000-7000-8000-000000000000"
NAME = "innosystem.customers.v1.CustomerService"
LIMIT_SECONDS = 20.0

Context = grpc.aio.ServicerContext[Any, Any]
Behavior = Callable[[pb.GetCustomerRequest, Context], Awaitable[None]]


async def _nothing(request: pb.GetCustomerRequest, context: Context) -> None:
    return None


class Customers:
    """GetCustomer runs `behavior` and returns the requested ID; no other method is served."""

    def __init__(self, behavior: Behavior = _nothing) -> None:
        self._behavior = behavior

    @for_tenants
    async def get_customer(
        self, request: pb.GetCustomerRequest, context: Context, _tenants: Tenants
    ) -> pb.GetCustomerResponse:
        await self._behavior(request, context)
        return pb.GetCustomerResponse(customer=Customer(id=request.customer_id))

    def handlers(self) -> grpc.GenericRpcHandler:
        handler = grpc.unary_unary_rpc_method_handler(
            self.get_customer,
            request_deserializer=pb.GetCustomerRequest.FromString,
            response_serializer=pb.GetCustomerResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(NAME, {"GetCustomer": handler})


def settings(folder: Path, **values: Any) -> ServerSettings:
    return ServerSettings(listen_address=f"unix:{folder / 's'}", **values)


def served(servicer: Customers) -> Served:
    return Served(
        pb.DESCRIPTOR.services_by_name["CustomerService"],
        lambda server: server.add_generic_rpc_handlers((servicer.handlers(),)),
    )


@dataclass
class Running:
    """A server without the signals, drain and checks of `Server.run`, and a channel to it.

    Attributes:
        tcp: Its other address, of which callers are another peer.
    """

    channel: grpc.aio.Channel
    server: grpc.aio.Server
    load: Load
    health: Health
    tcp: str

    async def get(self, customer_id: str = ID, **how: Any) -> pb.GetCustomerResponse:
        request = pb.GetCustomerRequest(customer_id=customer_id)
        return await CustomerServiceStub(self.channel).GetCustomer(request, **{"timeout": LIMIT_SECONDS, **how})


@asynccontextmanager
async def running(
    folder: Path,
    behavior: Behavior = _nothing,
    *,
    health: Health | None = None,
    authentication: Authentication = OFF,
    limits: Limits = UNLIMITED,
    **values: Any,
) -> AsyncIterator[Running]:
    chosen = settings(folder, **values)
    load = Load(chosen.concurrent_calls_max, chosen.concurrent_streams_max)
    health = health or Health([NAME], {})
    one = Server(settings=chosen, served=[served(Customers(behavior))], authentication=authentication, required={})
    layers = Layers(
        load,
        chosen.deadline_seconds_max,
        authentication,
        open_reflection=chosen.reflection == "open",
        limits=limits,
    )
    server = one.build(layers, health)
    server.add_insecure_port(chosen.listen_address)
    tcp = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with grpc.aio.insecure_channel(chosen.listen_address) as channel:
            yield Running(channel, server, load, health, tcp)
    finally:
        await server.stop(None)


def health_method(channel: grpc.aio.Channel, name: str) -> Any:
    """Check or Watch of the health service, whose published types have neither."""
    make = channel.unary_stream if name == "Watch" else channel.unary_unary
    return make(
        f"/grpc.health.v1.Health/{name}",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )


async def until_health(
    channel: grpc.aio.Channel, expected: int, service: str = "", begun: asyncio.Event | None = None
) -> None:
    """Waits until the server says this about itself; sets an event when it has said anything."""
    async with asyncio.timeout(LIMIT_SECONDS):
        watch = health_method(channel, "Watch")(health_pb2.HealthCheckRequest(service=service))
        async for response in watch:
            if begun is not None:
                begun.set()
            if response.status == expected:
                watch.cancel()
                return


class Gate:
    """A behavior that stays in the call until the test releases it."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, request: pb.GetCustomerRequest, context: Context) -> None:
        self.entered.set()
        async with asyncio.timeout(LIMIT_SECONDS):
            await self.opened.wait()

    async def wait_entered(self) -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            await self.entered.wait()
