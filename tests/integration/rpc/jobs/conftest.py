"""JobService and JobTypeService on one server, with a real CustomerService beside it that they ask."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import grpc
import pytest
import redis

from innosystem.customers.v1.customer_service_pb2_grpc import (
    CustomerServiceStub,
    add_CustomerServiceServicer_to_server,
)
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub, add_JobServiceServicer_to_server
from innosystem.jobs.v1.job_type_service_pb2_grpc import (
    JobTypeServiceStub,
    add_JobTypeServiceServicer_to_server,
)
from services.jobs.job_type_servicer import JobTypeServicer
from services.jobs.servicer import JobServicer
from tests.integration.rpc.jobs.world import CustomersServer, Lists, World
from tests.integration.rpc.loop_thread import AioServer, LoopThread
from tests.integration.rpc.wiring import customers_servicer, job_types_servicer, jobs_servicer

Servicers = tuple[JobServicer, JobTypeServicer]


@pytest.fixture(scope="module")
def service_name() -> str:
    """Whose database the modules work on."""
    return "jobs"


@pytest.fixture(scope="module")
def customers_server(
    loop_thread: LoopThread, fresh_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CustomersServer]:
    """The customers service that the jobs service asks."""
    address = f"unix:{tmp_path_factory.mktemp('customers') / 's'}"
    with customers_servicer(loop_thread, fresh_database("customers")) as servicer:
        server = AioServer(loop_thread)
        add_CustomerServiceServicer_to_server(servicer, server)  # type: ignore[arg-type] # looks like one
        server.add_insecure_port(address)
        server.start()
        with grpc.insecure_channel(address) as channel:
            yield CustomersServer(address, server, CustomerServiceStub(channel))
        server.stop()


@pytest.fixture(scope="module")
def queue_prefix() -> str:
    """Keeps the lists of the module apart from all others."""
    return f"{uuid4()}:"


@pytest.fixture(scope="module")
def grpc_servicer(
    loop_thread: LoopThread,
    database_url: str,
    redis_url: str,
    queue_prefix: str,
    customers_server: CustomersServer,
) -> Iterator[Servicers]:
    with (
        job_types_servicer(loop_thread, database_url) as job_types,
        jobs_servicer(
            loop_thread,
            database_url,
            redis_url=redis_url,
            redis_prefix=queue_prefix,
            customers_address=customers_server.address,
        ) as jobs,
    ):
        yield jobs, job_types


@pytest.fixture(scope="module")
def grpc_add_to_server() -> Callable[[Servicers, Any], None]:
    def add(servicers: Servicers, server: Any) -> None:
        add_JobServiceServicer_to_server(servicers[0], server)
        add_JobTypeServiceServicer_to_server(servicers[1], server)

    return add


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[JobServiceStub]:
    return JobServiceStub


@pytest.fixture
def world(grpc_stub: JobServiceStub, grpc_channel: grpc.Channel, customers_server: CustomersServer) -> World:
    """The stubs, and what a test needs before it can submit a job."""
    return World(grpc_stub, JobTypeServiceStub(grpc_channel), customers_server.stub)


@pytest.fixture
def lists(redis_url: str, queue_prefix: str) -> Iterator[Lists]:
    """The lists that the module's jobs are pushed to."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield Lists(client, queue_prefix)
