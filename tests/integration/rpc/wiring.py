"""Puts the servicers together as the services' `__main__` do, on a loop thread, for as long as a module needs them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from grpc import aio
from pydantic import SecretStr

from innosystem.client import connect
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from services.customers.repository_sql import SqlCustomersUnitOfWork
from services.customers.service import CustomersService
from services.customers.servicer import CustomerServicer
from services.jobs.__main__ import redis_client
from services.jobs.customers import GrpcCustomers
from services.jobs.dispatcher import Dispatcher
from services.jobs.job_type_service import JobTypeService
from services.jobs.job_type_servicer import JobTypeServicer
from services.jobs.queue import RedisLists
from services.jobs.repository_sql import SqlJobsUnitOfWork
from services.jobs.run_service import RunService
from services.jobs.service import JobsService
from services.jobs.servicer import JobServicer
from services.kit.data.database import Database
from services.kit.query.page import PageTokens
from services.kit.rpc.validation import ContractValidator
from services.kit.settings import DatabaseSettings, RedisSettings
from services.wallets.repository_sql import SqlWalletsUnitOfWork
from services.wallets.service import WalletsService
from services.wallets.servicer import WalletServicer
from tests.integration.rpc.loop_thread import LoopThread

_TOKENS = PageTokens(b"the key of the page tokens of tests")


@contextmanager
def _database(loop: LoopThread, url: str) -> Iterator[Database]:
    database = Database.connect(DatabaseSettings(url=SecretStr(url)), application_name="tests")
    yield database
    loop.run(database.close())


@contextmanager
def customers_servicer(loop: LoopThread, url: str) -> Iterator[CustomerServicer]:
    """CustomerService on a database."""
    with _database(loop, url) as database:
        service = CustomersService(lambda: SqlCustomersUnitOfWork(database), lambda: datetime.now(UTC))
        yield CustomerServicer(service, _TOKENS)


@contextmanager
def wallets_servicer(loop: LoopThread, url: str) -> Iterator[WalletServicer]:
    """WalletService on a database."""
    with _database(loop, url) as database:
        yield WalletServicer(WalletsService(lambda: SqlWalletsUnitOfWork(database)), _TOKENS, ContractValidator())


@contextmanager
def job_types_servicer(loop: LoopThread, url: str) -> Iterator[JobTypeServicer]:
    """JobTypeService on a database."""
    with _database(loop, url) as database:
        yield JobTypeServicer(JobTypeService(lambda: SqlJobsUnitOfWork(database)), _TOKENS)


@contextmanager
def jobs_servicer(
    loop: LoopThread, url: str, *, redis_url: str, redis_prefix: str, customers_address: str
) -> Iterator[JobServicer]:
    """JobService on a database, a Redis and a customers service."""

    async def connected() -> aio.Channel:
        return connect(customers_address, deadline_seconds=3)

    client = redis_client(RedisSettings(url=SecretStr(redis_url)))
    with _database(loop, url) as database:
        channel = loop.run(connected())
        customers = GrpcCustomers(CustomerServiceStub(channel))
        dispatcher = Dispatcher(lambda: SqlJobsUnitOfWork(database), RedisLists(client, redis_prefix))
        dispatching = loop.start(dispatcher.run())
        service = JobsService(lambda: SqlJobsUnitOfWork(database), customers, dispatcher, lambda: datetime.now(UTC))
        runs = RunService(lambda: SqlJobsUnitOfWork(database))
        yield JobServicer(service, runs, ContractValidator(), _TOKENS)
        loop.cancel(dispatching)
        loop.run(channel.close())
        loop.run(client.aclose())
