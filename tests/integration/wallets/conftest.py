"""WalletService on the module's database."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from pydantic import SecretStr

from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub, add_WalletServiceServicer_to_server
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.settings import DatabaseSettings
from services.wallets.rpc.servicer import WalletServicer
from services.wallets.usecases.wallets import WalletsService
from tests.support.rpc.loop_thread import LoopThread
from tests.support.rpc.servers import wallets_servicer
from tests.support.wallets_work import sql_work


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


@pytest.fixture
def url(fresh_database: Callable[[str], str]) -> str:
    """Create a database that the test has for itself."""
    return fresh_database("wallets")


@pytest.fixture
async def service(url: str) -> AsyncIterator[WalletsService]:
    """Return the use cases on the database of the test."""
    database = Database.connect(DatabaseSettings(url=SecretStr(url)), application_name="test")
    yield sql_work(SqlTransactions(database)).service
    await database.close()
