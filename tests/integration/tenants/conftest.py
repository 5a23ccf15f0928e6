"""All services, each twice: for anyone, as they call each other, and for callers with tokens."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import grpc
import pytest

from innosystem.customers.v1.customer_service_pb2_grpc import add_CustomerServiceServicer_to_server
from innosystem.jobs.v1.job_service_pb2_grpc import add_JobServiceServicer_to_server
from innosystem.jobs.v1.job_type_service_pb2_grpc import add_JobTypeServiceServicer_to_server
from innosystem.wallets.v1.wallet_service_pb2_grpc import add_WalletServiceServicer_to_server
from services.kit.auth.authentication import OFF, Authentication
from tests.support.rpc.jobs_stack import JobsStack
from tests.support.rpc.loop_thread import AioServer, LoopThread
from tests.support.rpc.promises import promised
from tests.support.rpc.servers import customers_servicer, job_types_servicer, jobs_servicer, wallets_servicer
from tests.support.rpc.tenants import (
    B_CENTS,
    QUEUE_X,
    QUEUE_Y,
    REQUEST_ID,
    Names,
    TenantsWorld,
    furnish,
    principals,
    stubs,
)

Add = Callable[[Any], None]


@dataclass(frozen=True)
class _Listening:
    """Where a service listens for anyone, and for callers with tokens."""

    anyone: str
    callers: str


@contextmanager
def _serving(loop: LoopThread, address: str, authentication: Authentication, adds: Iterable[Add]) -> Iterator[None]:
    server = AioServer(loop, authentication)
    for add in adds:
        add(server)
    server.add_insecure_port(address)
    server.start()
    yield
    server.stop()


@pytest.fixture(scope="module")
def world(
    loop_thread: LoopThread,
    fresh_database: Callable[[str], str],
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[TenantsWorld]:
    """Start the services, and give three customers something of each kind; B has hundreds of things."""
    names = Names()
    with ExitStack() as opened:

        def listening(*adds: Add) -> _Listening:
            folder = tmp_path_factory.mktemp("service")
            for place, authentication in (("anyone", OFF), ("callers", names.authentication())):
                opened.enter_context(_serving(loop_thread, f"unix:{folder / place}", authentication, adds))
            return _Listening(f"unix:{folder / 'anyone'}", f"unix:{folder / 'callers'}")

        urls = {service: fresh_database(service) for service in ("customers", "wallets", "jobs")}
        customers = opened.enter_context(customers_servicer(loop_thread, urls["customers"]))
        customers_at = listening(lambda server: add_CustomerServiceServicer_to_server(customers, server))
        wallets = opened.enter_context(wallets_servicer(loop_thread, urls["wallets"]))
        wallets_at = listening(lambda server: add_WalletServiceServicer_to_server(wallets, server))
        types = opened.enter_context(job_types_servicer(loop_thread, urls["jobs"]))
        parts = opened.enter_context(
            jobs_servicer(
                loop_thread,
                urls["jobs"],
                redis_url=redis_url,
                redis_prefix=f"{uuid4()}:",
                customers_address=customers_at.anyone,
                wallets_address=wallets_at.anyone,
            )
        )
        jobs_at = listening(
            lambda server: add_JobServiceServicer_to_server(parts.servicer, server),
            lambda server: add_JobTypeServiceServicer_to_server(types, server),
        )

        def channels(kind: str) -> list[grpc.Channel]:
            addresses = [getattr(one, kind) for one in (customers_at, wallets_at, jobs_at)]
            return [promised(opened.enter_context(grpc.insecure_channel(one))) for one in addresses]

        anyone = replace(stubs(None, channels("anyone")), settle=lambda: loop_thread.run(parts.settler.round()))
        a, b, c = (
            furnish(anyone, QUEUE_X, cents=100_000, more=20),
            furnish(anyone, QUEUE_Y, cents=B_CENTS, more=150),
            furnish(anyone, QUEUE_X, cents=100_000),
        )
        names.principals.update(principals(a, b, c))
        protected = channels("callers")

        def as_caller(token: str, request_id: str = REQUEST_ID) -> JobsStack:
            return stubs(token or None, protected, request_id)

        yield TenantsWorld(anyone, as_caller, names, a, b, c, urls)
