"""A replica of another service that accepts calls and returns nothing costs its callers some time, and no call."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from grpc import aio

from innosystem.client import connect
from innosystem.customers.v1 import customer_service_pb2 as customers_pb
from innosystem.customers.v1.customer_pb2 import Customer
from innosystem.customers.v1.customer_service_pb2_grpc import (
    CustomerServiceServicer,
    CustomerServiceStub,
    add_CustomerServiceServicer_to_server,
)
from innosystem.wallets.v1 import wallet_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as wallets_pb
from innosystem.wallets.v1.wallet_service_pb2_grpc import (
    WalletServiceServicer,
    WalletServiceStub,
    add_WalletServiceServicer_to_server,
)
from services.jobs.clients.customers import GrpcCustomers
from services.jobs.clients.wallets import GrpcWallets
from services.jobs.rules.entities import Release
from services.jobs.rules.transitions.completion import Released
from services.jobs.usecases.ports import KnownCustomer

CALLS = 8


class Customers(CustomerServiceServicer):
    def __init__(self, *, frozen: bool) -> None:
        self._frozen = frozen

    async def BatchGetCustomers(self, request: customers_pb.BatchGetCustomersRequest, _: Any) -> Any:  # noqa: N802
        if self._frozen:
            await asyncio.Event().wait()
        found = [Customer(id=one, active=True) for one in request.customer_ids]
        results = [customers_pb.BatchGetCustomersResult(customer=one) for one in found]
        return customers_pb.BatchGetCustomersResponse(results=results)


class Wallets(WalletServiceServicer):
    def __init__(self, *, frozen: bool) -> None:
        self._frozen = frozen

    async def BatchReleaseHolds(self, request: wallets_pb.BatchReleaseHoldsRequest, _: Any) -> Any:  # noqa: N802
        if self._frozen:
            await asyncio.Event().wait()
        released = [wallet_pb2.Hold(id=one.hold_id, state=wallet_pb2.HOLD_STATE_RELEASED) for one in request.requests]
        responses = [wallets_pb.ReleaseHoldResponse(hold=one) for one in released]
        return wallets_pb.BatchReleaseHoldsResponse(
            results=[wallets_pb.BatchReleaseHoldsResult(response=one) for one in responses]
        )


@asynccontextmanager
async def replicas(add: Any, servicer: Any, deadline_seconds: float) -> AsyncIterator[aio.Channel]:
    """Open a channel to two replicas, the first of which is frozen."""
    servers, ports = [aio.server(), aio.server()], []
    for server, frozen in zip(servers, (True, False), strict=True):
        add(servicer(frozen=frozen), server)
        ports.append(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
    target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
    async with connect(target, deadline_seconds=deadline_seconds) as channel:
        yield channel
    for server in servers:
        await server.stop(None)


@pytest.mark.slow
async def test_customers_are_found_although_one_replica_of_their_service_is_frozen() -> None:
    async with replicas(add_CustomerServiceServicer_to_server, Customers, 6.0) as channel:
        customers = GrpcCustomers(CustomerServiceStub(channel), 6.0)
        # From then on both replicas are connected, and calls alternate.
        await customers.read([uuid4()])
        for _ in range(CALLS):
            began, one = time.monotonic(), uuid4()
            assert await customers.read([one]) == {one: KnownCustomer(active=True)}
            assert time.monotonic() - began < 5.0


@pytest.mark.slow
async def test_holds_are_released_although_one_replica_of_the_ledger_is_frozen() -> None:
    async with replicas(add_WalletServiceServicer_to_server, Wallets, 6.0) as channel:
        wallets = GrpcWallets(WalletServiceStub(channel), lambda: datetime.now(UTC), deadline_seconds=6.0)
        await wallets.release_holds([Release(hold_id=uuid4(), job_id=uuid4())])
        for _ in range(CALLS):
            release = Release(hold_id=uuid4(), job_id=uuid4())
            [outcome] = await wallets.release_holds([release])
            assert isinstance(outcome, Released), outcome
