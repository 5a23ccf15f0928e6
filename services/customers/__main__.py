"""The customers process: `python -m services.customers`. The only place where its parts are put together."""

import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

from innosystem.customers.v1 import customer_service_pb2
from innosystem.customers.v1.customer_service_pb2_grpc import add_CustomerServiceServicer_to_server
from services.customers.clients.invalidations import announcements
from services.customers.rpc.servicer import CustomerServicer
from services.customers.settings import CustomersServerSettings
from services.customers.store.sql import SqlApiKeyRepository, SqlCustomerRepository
from services.customers.store.tables import metadata
from services.customers.usecases.api_keys import ApiKeyService
from services.customers.usecases.customers import CustomersService
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.migrations.startup import SchemaGate
from services.kit.query.page import PageTokens
from services.kit.rpc.serving.server import Served, Server, serve
from services.kit.settings import DatabaseSettings, load, load_redis


async def main() -> None:
    """Builds the service and serves until it is told to stop."""
    server_settings = load(CustomersServerSettings, "CUSTOMERS_")
    database_settings = load(DatabaseSettings, "CUSTOMERS_DATABASE_")
    async with AsyncExitStack() as opened:
        database = Database.connect(database_settings, application_name="innosystem-customers")
        opened.push_async_callback(database.close)
        schema = SchemaGate.of("customers", database_settings, metadata, database)
        told = await opened.enter_async_context(announcements(load_redis()))
        transactions = SqlTransactions(database)
        customers = SqlCustomerRepository(transactions)
        api_keys = SqlApiKeyRepository(transactions)
        servicer = CustomerServicer(
            CustomersService(transactions, customers, api_keys, told.changed),
            ApiKeyService(transactions, customers, api_keys, database.now, told.changed),
            PageTokens(schema.page_token_key),
        )
        server = Server(
            settings=server_settings,
            served=[
                Served(
                    customer_service_pb2.DESCRIPTOR.services_by_name["CustomerService"],
                    lambda grpc_server: add_CustomerServiceServicer_to_server(servicer, grpc_server),
                )
            ],
            required={"database": schema.check},
            background=told.background,
        )
        await server.run()


def run(arguments: Sequence[str] = ()) -> None:
    """Runs the service as a process, or as several: `--processes 2`."""
    serve("customers", main, CustomersServerSettings, arguments)


if __name__ == "__main__":
    run(sys.argv[1:])
