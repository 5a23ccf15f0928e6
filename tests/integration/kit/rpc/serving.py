"""A real server with all its layers on a unix socket, around a servicer that does what a test says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from innosystem.customers.v1 import customer_service_pb2 as pb
from innosystem.customers.v1.customer_service_pb2_grpc import (
    CustomerServiceServicer,
    CustomerServiceStub,
    add_CustomerServiceServicer_to_server,
)
from services.kit.rpc.health import Health
from services.kit.rpc.layers import Layers, Load
from services.kit.rpc.server import Served, Server
from services.kit.settings import ServerSettings

ID = "0190a2b2-0000-7000-8000-000000000000"
NAME = "innosystem.customers.v1.CustomerService"
LIMIT_SECONDS = 20.0

Context = grpc.aio.ServicerContext[Any, Any]
Behavior = Callable[[pb.GetCustomerRequest, Context], Awaitable[None]]


async def _nothing(request: pb.GetCustomerRequest, context: Context) -> None:
    return None


class Customers(CustomerServiceServicer):
    """GetCustomer does what `behavior` does and answers the ID it was asked for; nothing else is served."""

    def __init__(self, behavior: Behavior = _nothing) -> None:
        self._behavior = behavior

    async def GetCustomer(self, request: pb.GetCustomerRequest, context: Context) -> pb.GetCustomerResponse:  # noqa: N802
        await self._behavior(request, context)
        return pb.GetCustomerResponse(customer={"id": request.customer_id})


def settings(folder: Path, **values: Any) -> ServerSettings:
    return ServerSettings(listen_address=f"unix:{folder / 's'}", **values)


def served(servicer: Customers) -> Served:
    return Served(
        pb.DESCRIPTOR.services_by_name["CustomerService"],
        lambda server: add_CustomerServiceServicer_to_server(servicer, server),
    )


@dataclass
class Running:
    """A server without the signals, drain and checks of `Server.run`, and a channel to it."""

    channel: grpc.aio.Channel
    server: grpc.aio.Server
    load: Load
    health: Health
    stub: CustomerServiceStub = field(init=False)

    def __post_init__(self) -> None:
        self.stub = CustomerServiceStub(self.channel)

    async def get(self, customer_id: str = ID, **how: Any) -> pb.GetCustomerResponse:
        return await self.stub.GetCustomer(
            pb.GetCustomerRequest(customer_id=customer_id), **{"timeout": LIMIT_SECONDS, **how}
        )


@asynccontextmanager
async def running(
    folder: Path, behavior: Behavior = _nothing, *, health: Health | None = None, **values: Any
) -> AsyncIterator[Running]:
    chosen = settings(folder, **values)
    load = Load(chosen.concurrent_calls_max)
    health = health or Health([NAME], {})
    one = Server(settings=chosen, served=[served(Customers(behavior))], required={})
    server = one.build(Layers(load, chosen.deadline_seconds_max), health)
    server.add_insecure_port(chosen.listen_address)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(chosen.listen_address) as channel:
            yield Running(channel, server, load, health)
    finally:
        await server.stop(None)


async def until_health(channel: grpc.aio.Channel, expected: int, service: str = "") -> None:
    """Waits until the server says this about itself."""
    async with asyncio.timeout(LIMIT_SECONDS):
        watch = HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=service))
        async for answer in watch:
            if answer.status == expected:
                watch.cancel()
                return


class Gate:
    """A behavior that stays in the call until the test lets it go on."""

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
