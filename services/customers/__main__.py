"""The customers process: `python -m services.customers`. The only place that puts its parts together."""

import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from prometheus_client import REGISTRY

from innosystem.customers.v1 import customer_service_pb2
from innosystem.customers.v1.customer_service_pb2_grpc import add_CustomerServiceServicer_to_server
from services.customers.background.key_uses import KeyUses
from services.customers.clients.invalidations import Announcements, announcements
from services.customers.rpc.convert import customer_message
from services.customers.rpc.servicer import CustomerServicer
from services.customers.settings import CustomersServerSettings
from services.customers.store.sql import SqlApiKeyRepository, SqlCustomerRepository
from services.customers.store.tables import metadata
from services.customers.usecases.api_keys import ApiKeyService
from services.customers.usecases.customers import CustomersService
from services.kit.auth.api_keys import ApiKeys, KnownKeys, ResolvedKey
from services.kit.auth.settings import ApiKeySettings, authentication
from services.kit.background import Loop
from services.kit.cache.metrics import CacheCollector
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.limits.settings import LimitSettings
from services.kit.limits.sharing import open_limits
from services.kit.migrations.startup import SchemaGate
from services.kit.query.page import PageTokens
from services.kit.rpc.convert import customer_limits
from services.kit.rpc.serving.server import Served, Server, serve
from services.kit.rpc.serving.transport import server_transport
from services.kit.settings import DatabaseSettings, RedisSettings, load, load_redis

_USES_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class Settings:
    """The settings of the process."""

    server: CustomersServerSettings
    database: DatabaseSettings
    redis: RedisSettings | None
    limits: LimitSettings
    api_keys: ApiKeySettings

    @classmethod
    def load(cls) -> "Settings":
        """Read the settings from the environment."""
        return cls(
            load(CustomersServerSettings, "CUSTOMERS_"),
            load(DatabaseSettings, "CUSTOMERS_DATABASE_"),
            load_redis(),
            load(LimitSettings, "INNOSYSTEM_LIMITS_"),
            load(ApiKeySettings, "INNOSYSTEM_API_KEY_"),
        )


@dataclass(frozen=True)
class Stores:
    """The database with its repositories, the API keys that are remembered, and the announcements to other services."""

    database: Database
    schema: SchemaGate
    transactions: SqlTransactions
    customers: SqlCustomerRepository
    api_keys: SqlApiKeyRepository
    known_keys: KnownKeys
    announcements: Announcements


@dataclass(frozen=True)
class UseCases:
    """The use cases of the service, and what they notify."""

    customers: CustomersService
    api_keys: ApiKeyService
    uses: KeyUses


async def open_stores(settings: Settings, opened: AsyncExitStack) -> Stores:
    """Open the database, and Redis if it is configured.

    Args:
        settings: The settings.
        opened: Closes both.
    """
    database = Database.connect(settings.database, application_name="innosystem-customers")
    opened.push_async_callback(database.close)
    transactions = SqlTransactions(database)
    known_keys = KnownKeys(settings.api_keys)
    REGISTRY.register(CacheCollector([known_keys.statistics]))
    return Stores(
        database=database,
        schema=SchemaGate.of("customers", settings.database, metadata, database),
        transactions=transactions,
        customers=SqlCustomerRepository(transactions),
        api_keys=SqlApiKeyRepository(transactions),
        known_keys=known_keys,
        announcements=await opened.enter_async_context(announcements(settings.redis, known_keys)),
    )


def build_use_cases(stores: Stores) -> UseCases:
    """Build the use cases on the stores."""
    transactions, customers, api_keys = stores.transactions, stores.customers, stores.api_keys
    uses = KeyUses(transactions, api_keys)
    announced = stores.announcements
    return UseCases(
        CustomersService(transactions, customers, api_keys, announced.changed),
        ApiKeyService(
            transactions, customers, api_keys, stores.database.now, changed=announced.keys_changed, used=uses.note
        ),
        uses,
    )


def own_api_keys(stores: Stores, use_cases: UseCases) -> ApiKeys:
    """Build the API keys of this service's own callers, which are looked up without a call."""

    async def resolve(token: str) -> ResolvedKey:
        found = await use_cases.api_keys.resolve(token)
        key = found.key
        return ResolvedKey(
            key_id=key.id,
            customer_id=key.customer_id,
            scopes=key.scopes,
            expires_at=key.expires_at,
            limits=customer_limits(customer_message(found.customer)),
        )

    return ApiKeys(resolve, stores.known_keys, stores.database.now)


def background(stores: Stores, use_cases: UseCases) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """Build what runs beside the server; all of it but the announcements waits for the schema."""
    uses = Loop("key uses", use_cases.uses.round, every=_USES_EVERY)
    return [*stores.announcements.background, stores.schema.before(uses.run)]


async def main() -> None:
    """Serve until the process is asked to stop."""
    settings = Settings.load()
    async with AsyncExitStack() as opened:
        stores = await open_stores(settings, opened)
        limits = await opened.enter_async_context(open_limits("customers", settings.limits, settings.redis))
        use_cases = build_use_cases(stores)
        tokens = PageTokens(stores.schema.page_token_key)
        servicer = CustomerServicer(use_cases.customers, use_cases.api_keys, tokens)
        server = Server(
            settings=settings.server,
            served=[
                Served(
                    customer_service_pb2.DESCRIPTOR.services_by_name["CustomerService"],
                    lambda grpc_server: add_CustomerServiceServicer_to_server(servicer, grpc_server),
                )
            ],
            authentication=authentication(own_api_keys(stores, use_cases)),
            transport=server_transport(),
            limits=limits,
            required={"database": stores.schema.check},
            database=lambda: stores.schema.identity,
            background=background(stores, use_cases),
        )
        await server.run()


def run(arguments: Sequence[str] = ()) -> None:
    """Run the service as one process, or as several: `--processes 2`."""
    serve("customers", main, CustomersServerSettings, arguments)


if __name__ == "__main__":
    run(sys.argv[1:])
