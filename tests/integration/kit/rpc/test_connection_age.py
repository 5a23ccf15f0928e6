"""Clients find replicas that come after them: servers ask for new connections, for which names are resolved anew."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import pytest

from innosystem.client import Transport, connect
from innosystem.customers.v1 import customer_service_pb2 as pb
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from services.kit.auth.authentication import OFF
from services.kit.rpc.layers.stack import Layers, Load
from services.kit.rpc.serving.health import Health
from services.kit.rpc.serving.server import Server
from services.kit.settings import ServerSettings
from tests.integration.kit.rpc.names import NameServer
from tests.integration.kit.rpc.serving import ID, LIMIT_SECONDS, NAME, Behavior, Context, Customers, Gate, served

# Nothing is repeated but what no server has seen, which gRPC does by itself for all methods: a call that is sent at the
# moment at which a server asks for a new connection is given back. Whatever else fails is to be seen.
_SPREAD_ONLY = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})
# The name server could lead to other machines.
PLAINTEXT = Transport(plaintext=True)
NO_REPEATS = [("grpc.service_config", _SPREAD_ONLY)]
HOSTS = ("127.0.0.1", "127.0.0.2")


@asynccontextmanager
async def replica(host: str, port: int, behavior: Behavior, **values: float) -> AsyncIterator[int]:
    """Serves on an address; returns the port."""
    settings = ServerSettings(listen_address=f"{host}:{port}", **values)  # type: ignore[arg-type] # they are numbers
    load = Load(settings.concurrent_calls_max, settings.concurrent_streams_max)
    one = Server(settings=settings, served=[served(Customers(behavior))], authentication=OFF, required={})
    server = one.build(Layers(load, settings.deadline_seconds_max, OFF), Health([NAME], {}))
    bound = server.add_insecure_port(settings.listen_address)
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(None)


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    made = NameServer(HOSTS[0])
    yield made
    made.close()


async def test_a_replica_that_comes_later_gets_its_share_and_no_call_fails(names: NameServer) -> None:
    calls: Counter[str] = Counter()

    def counting(host: str) -> Behavior:
        async def count(request: pb.GetCustomerRequest, context: Context) -> None:
            calls[host] += 1

        return count

    async with AsyncExitStack() as running:
        port = await running.enter_async_context(replica(HOSTS[0], 0, counting(HOSTS[0]), connection_age_seconds=0.5))
        target = f"dns://127.0.0.1:{await names.start()}/replicas.test:{port}"
        channel = await running.enter_async_context(
            connect(target, deadline_seconds=LIMIT_SECONDS, transport=PLAINTEXT, options=NO_REPEATS)
        )
        stub = CustomerServiceStub(channel)

        async def call_until_both_answer() -> int:
            made = 0
            while len(calls) < 2 or min(calls.values()) < 50:
                await stub.GetCustomer(pb.GetCustomerRequest(customer_id=ID))
                made += 1
            return made

        await stub.GetCustomer(pb.GetCustomerRequest(customer_id=ID))
        await running.enter_async_context(replica(HOSTS[1], port, counting(HOSTS[1]), connection_age_seconds=0.5))
        names.addresses = list(HOSTS)
        async with asyncio.timeout(LIMIT_SECONDS):
            made = await asyncio.gather(*(call_until_both_answer() for _ in range(8)))
    assert sum(calls.values()) == sum(made) + 1


async def test_a_call_that_outlasts_the_age_of_its_connection_succeeds(names: NameServer) -> None:
    gate = Gate()
    async with replica(HOSTS[0], 0, gate, connection_age_seconds=0.2) as port:
        target = f"dns://127.0.0.1:{await names.start()}/replicas.test:{port}"
        async with connect(target, deadline_seconds=LIMIT_SECONDS, transport=PLAINTEXT) as channel:
            call = CustomerServiceStub(channel).GetCustomer(pb.GetCustomerRequest(customer_id=ID))
            await gate.wait_entered()
            async with asyncio.timeout(LIMIT_SECONDS):
                # The name is asked for again when the server has asked for a new connection.
                await names.asked_again.wait()
            gate.opened.set()
            assert (await call).customer.id == ID
            assert await call.code() is grpc.StatusCode.OK
