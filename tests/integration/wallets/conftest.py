"""WalletService on the module's database."""

from collections.abc import Callable, Iterator

import pytest

from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub, add_WalletServiceServicer_to_server
from services.wallets.rpc.servicer import WalletServicer
from tests.support.rpc.loop_thread import LoopThread
from tests.support.rpc.servers import wallets_servicer


@pytest.fixture(scope="module")
def grpc_add_to_server() -> Callable[..., None]:
    return add_WalletServiceServicer_to_server


@pytest.fixture(scope="module")
def grpc_servicer(loop_thread: LoopThread, database_url: str) -> Iterator[WalletServicer]:
    with wallets_servicer(loop_thread, database_url) as servicer:
        yield servicer


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[WalletServiceStub]:
    return WalletServiceStub


@pytest.fixture
def stub(grpc_stub: WalletServiceStub) -> WalletServiceStub:
    return grpc_stub
