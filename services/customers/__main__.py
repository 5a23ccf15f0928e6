"""The customers process: `python -m services.customers`. The only module that puts its parts together."""

import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime

from innosystem.customers.v1 import customer_service_pb2
from innosystem.customers.v1.customer_service_pb2_grpc import add_CustomerServiceServicer_to_server
from services.customers.clients.invalidations import announcements
from services.customers.rpc.servicer import CustomerServicer
from services.customers.settings import CustomersServerSettings
from services.customers.store.sql import SqlApiKeyRepository, SqlCustomerRepository
from services.customers.store.tables import metadata
from services.customers.usecases.api_keys import ApiKeyService
from services.customers.usecases.customers import CustomersService
from services.customers.usecases.ports import Changed
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.migrations.startup import SchemaGate
from services.kit.query.page import PageTokens
from services.kit.rpc.serving.server import Served, Server, serve
from services.kit.settings import DatabaseSettings, load, load_redis


@dataclass(frozen=True)
class Stores:
    """The stored customers and API keys."""

    transactions: SqlTransactions
    customers: SqlCustomerRepository
    api_keys: SqlApiKeyRepository

    @classmethod
    def of(cls, database: Database) -> "Stores":
        """Create the stores of a database."""
        transactions = SqlTransactions(database)
        return cls(transactions, SqlCustomerRepository(transactions), SqlApiKeyRepository(transactions))


@dataclass(frozen=True)
class UseCases:
    """The use cases of the service."""

    customers: CustomersService
    api_keys: ApiKeyService

    @classmethod
    def of(cls, stores: Stores, now: Callable[[], datetime], changed: Changed) -> "UseCases":
        """Create the use cases on the stores."""
        return cls(
            CustomersService(stores.transactions, stores.customers, stores.api_keys, changed),
            ApiKeyService(stores.transactions, stores.customers, stores.api_keys, now, changed),
        )


async def main() -> None:
    """Build the service and serve until the process is asked to stop."""
    server_settings = load(CustomersServerSettings, "CUSTOMERS_")
    database_settings = load(DatabaseSettings, "CUSTOMERS_DATABASE_")
    async with AsyncExitStack() as opened:
        database = Database.connect(database_settings, application_name="innosystem-customers")
        opened.push_async_callback(database.close)
        schema = SchemaGate.of("customers", database_settings, metadata, database)
        changes = await opened.enter_async_context(announcements(load_redis()))
        use_cases = UseCases.of(Stores.of(database), database.now, changes.changed)
        servicer = CustomerServicer(use_cases.customers, use_cases.api_keys, PageTokens(schema.page_token_key))
        server = Server(
            settings=server_settings,
            served=[
                Served(
                    customer_service_pb2.DESCRIPTOR.services_by_name["CustomerService"],
                    lambda grpc_server: add_CustomerServiceServicer_to_server(servicer, grpc_server),
                )
            ],
            required={"database": schema.check},
            background=changes.background,
        )
        await server.run()


def run(arguments: Sequence[str] = ()) -> None:
    """Run the service as one process, or as several: `--processes 2`."""
    serve("customers", main, CustomersServerSettings, arguments)


if __name__ == "__main__":
    run(sys.argv[1:])
