"""JobService and JobTypeService on one server, with real services of customers and wallets beside it that they ask."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from uuid import uuid4

import grpc
import pytest
import redis
from pydantic import SecretStr

from innosystem.customers.v1.customer_service_pb2_grpc import (
    CustomerServiceStub,
    add_CustomerServiceServicer_to_server,
)
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub, add_JobServiceServicer_to_server
from innosystem.jobs.v1.job_type_service_pb2_grpc import (
    JobTypeServiceStub,
    add_JobTypeServiceServicer_to_server,
)
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub, add_WalletServiceServicer_to_server
from services.jobs.rpc.job_type_servicer import JobTypeServicer
from services.kit.data.engine.database import Database
from services.kit.settings import DatabaseSettings
from tests.support.rpc.jobs_stack import CustomersServer, JobsStack, Lists, WalletsServer
from tests.support.rpc.loop_thread import AioServer, LoopThread
from tests.support.rpc.promises import promised
from tests.support.rpc.servers import (
    JobsParts,
    customers_servicer,
    job_types_servicer,
    jobs_servicer,
    wallets_servicer,
)

Servicers = tuple[JobsParts, JobTypeServicer]
Neighbours = tuple[CustomersServer, WalletsServer]


@pytest.fixture(scope="module")
def service_name() -> str:
    """Whose database the modules work on."""
    return "jobs"


@pytest.fixture(scope="module")
def customers_server(
    loop_thread: LoopThread, fresh_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CustomersServer]:
    """Start the customers service that the jobs service calls."""
    address = f"unix:{tmp_path_factory.mktemp('customers') / 's'}"
    with customers_servicer(loop_thread, url := fresh_database("customers")) as servicer:
        server = AioServer(loop_thread)
        add_CustomerServiceServicer_to_server(servicer, server)  # type: ignore[arg-type] # looks like one
        server.add_insecure_port(address)
        server.start()
        with grpc.insecure_channel(address) as channel:
            yield CustomersServer(address, server, CustomerServiceStub(promised(channel)), url)
        server.stop()


@pytest.fixture(scope="module")
def wallets_server(
    loop_thread: LoopThread, fresh_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WalletsServer]:
    """Start the wallets service that the jobs service calls."""
    address = f"unix:{tmp_path_factory.mktemp('wallets') / 's'}"
    with wallets_servicer(loop_thread, url := fresh_database("wallets")) as servicer:
        server = AioServer(loop_thread)
        add_WalletServiceServicer_to_server(servicer, server)  # type: ignore[arg-type] # looks like one
        server.add_insecure_port(address)
        server.start()
        with grpc.insecure_channel(address) as channel:
            yield WalletsServer(address, server, WalletServiceStub(promised(channel)), url)
        server.stop()


@pytest.fixture(scope="module")
def neighbours(customers_server: CustomersServer, wallets_server: WalletsServer) -> Neighbours:
    """Start the services that the jobs service calls."""
    return customers_server, wallets_server


@pytest.fixture(scope="module")
def queue_prefix() -> str:
    """Keep the lists of the module apart from all others."""
    return f"{uuid4()}:"


@pytest.fixture(scope="module")
def grpc_servicer(
    loop_thread: LoopThread,
    database_url: str,
    redis_url: str,
    queue_prefix: str,
    neighbours: Neighbours,
) -> Iterator[Servicers]:
    customers, wallets = neighbours
    with (
        job_types_servicer(loop_thread, database_url) as job_types,
        jobs_servicer(
            loop_thread,
            database_url,
            redis_url=redis_url,
            redis_prefix=queue_prefix,
            customers_address=customers.address,
            wallets_address=wallets.address,
        ) as jobs,
    ):
        yield jobs, job_types


@pytest.fixture(scope="module")
def grpc_add_to_server() -> Callable[[Servicers, Any], None]:
    def add(servicers: Servicers, server: Any) -> None:
        add_JobServiceServicer_to_server(servicers[0].servicer, server)
        add_JobTypeServiceServicer_to_server(servicers[1], server)

    return add


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[JobServiceStub]:
    return JobServiceStub


@pytest.fixture(scope="module")
def world(
    grpc_stub: JobServiceStub,
    grpc_channel: grpc.Channel,
    grpc_servicer: Servicers,
    loop_thread: LoopThread,
    neighbours: Neighbours,
) -> JobsStack:
    """Return the stubs, with a customer, a wallet and a job type to submit jobs with."""
    parts, _ = grpc_servicer
    customers, wallets = neighbours
    return JobsStack(
        grpc_stub,
        JobTypeServiceStub(grpc_channel),
        customers.stub,
        wallets.stub,
        settle=lambda: loop_thread.run(parts.settler.round()),
        audit=lambda: loop_thread.run(parts.auditor.round()),
        end_waits=lambda: loop_thread.run(parts.overdue.round()),
    )


@pytest.fixture
def lists(redis_url: str, queue_prefix: str) -> Iterator[Lists]:
    """Return the lists that the module's jobs are pushed to."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield Lists(client, queue_prefix)


@pytest.fixture
def jobs_url(fresh_database: Callable[[str], str]) -> str:
    """Create a database for one test."""
    return fresh_database("jobs")


@pytest.fixture
async def databases(jobs_url: str) -> AsyncIterator[list[Database]]:
    """Open the pools of two processes on it."""
    # What these tests have wait for one another has as much time as the machine takes.
    settings = DatabaseSettings(url=SecretStr(jobs_url), lock_timeout_seconds=10)
    pools = [Database.connect(settings, application_name=f"test-{n}") for n in range(2)]
    yield pools
    for pool in pools:
        await pool.close()
