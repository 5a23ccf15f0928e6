"""CustomerService on the module's database."""

from collections.abc import Callable, Iterator

import pytest

from innosystem.customers.v1.customer_service_pb2_grpc import (
    CustomerServiceStub,
    add_CustomerServiceServicer_to_server,
)
from services.customers.rpc.servicer import CustomerServicer
from tests.support.rpc.loop_thread import LoopThread
from tests.support.rpc.servers import customers_servicer


@pytest.fixture(scope="module")
def grpc_add_to_server() -> Callable[..., None]:
    return add_CustomerServiceServicer_to_server


@pytest.fixture(scope="module")
def grpc_servicer(loop_thread: LoopThread, database_url: str) -> Iterator[CustomerServicer]:
    with customers_servicer(loop_thread, database_url) as servicer:
        yield servicer


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[CustomerServiceStub]:
    return CustomerServiceStub


@pytest.fixture
def stub(grpc_stub: CustomerServiceStub) -> CustomerServiceStub:
    return grpc_stub
