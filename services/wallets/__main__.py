"""The wallets process: `python -m services.wallets`. The only place that puts its parts together."""

import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from prometheus_client import REGISTRY

from innosystem.client import connect
from innosystem.customers.v1.customer_service_pb2 import ResolveApiKeyRequest
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from innosystem.wallets.v1 import wallet_service_pb2
from innosystem.wallets.v1.wallet_service_pb2_grpc import add_WalletServiceServicer_to_server
from services.kit.auth.api_keys import ApiKeys, KnownKeys
from services.kit.auth.settings import ApiKeySettings, authentication, own_token
from services.kit.background import Loop
from services.kit.batching.locked_lane import LockTimes
from services.kit.cache.invalidations import Invalidations
from services.kit.cache.metrics import CacheCollector
from services.kit.charges.keys import ChargeKeys
from services.kit.charges.vouchers import Vouchers
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.limits.settings import LimitSettings
from services.kit.limits.sharing import open_limits
from services.kit.migrations.startup import SchemaGate
from services.kit.query.page import PageTokens
from services.kit.redis.pubsub import redis_client as pubsub_client
from services.kit.rpc.api_keys import RemoteApiKeys
from services.kit.rpc.serving.server import Served, Server, serve
from services.kit.rpc.serving.transport import client_transport, server_transport
from services.kit.rpc.validation import ContractValidator
from services.kit.settings import (
    ChargeKeySettings,
    CustomersClientSettings,
    DatabaseSettings,
    RedisSettings,
    load,
    load_redis,
)
from services.wallets.background.books_monitor import BooksMonitor
from services.wallets.background.retention import HoldRetention
from services.wallets.metrics import BooksCollector
from services.wallets.rpc.servicer import WalletServicer
from services.wallets.settings import RetentionSettings, VerificationSettings, WalletsServerSettings
from services.wallets.store.ledger_sql import SqlLedger
from services.wallets.store.sql import SqlHoldRepository, SqlTransactionRepository, SqlWalletRepository
from services.wallets.store.tables import metadata
from services.wallets.store.verify_sql import SqlBooksReader
from services.wallets.usecases.verify_ledger import LedgerVerification
from services.wallets.usecases.wallets import WalletsService

_RETENTION_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class Settings:
    """The settings of the process."""

    server: WalletsServerSettings
    database: DatabaseSettings
    verification: VerificationSettings
    retention: RetentionSettings
    redis: RedisSettings | None
    limits: LimitSettings
    charge_keys: ChargeKeySettings
    customers: CustomersClientSettings
    api_keys: ApiKeySettings

    @classmethod
    def load(cls) -> "Settings":
        """Read the settings from the environment."""
        return cls(
            load(WalletsServerSettings, "WALLETS_"),
            load(DatabaseSettings, "WALLETS_DATABASE_"),
            load(VerificationSettings, "WALLETS_"),
            load(RetentionSettings, "WALLETS_"),
            load_redis(),
            load(LimitSettings, "INNOSYSTEM_LIMITS_"),
            load(ChargeKeySettings, "INNOSYSTEM_CHARGE_"),
            load(CustomersClientSettings, "CUSTOMERS_"),
            load(ApiKeySettings, "INNOSYSTEM_API_KEY_"),
        )


@dataclass(frozen=True)
class Stores:
    """The database with its repositories, and the API keys of the customers service."""

    database: Database
    schema: SchemaGate
    transactions: SqlTransactions
    wallets: SqlWalletRepository
    ledger_transactions: SqlTransactionRepository
    holds: SqlHoldRepository
    ledger: SqlLedger
    books: SqlBooksReader
    api_keys: ApiKeys
    invalidations: Invalidations | None


@dataclass(frozen=True)
class UseCases:
    """The use cases of the service."""

    wallets: WalletsService
    verification: LedgerVerification


async def open_stores(settings: Settings, opened: AsyncExitStack) -> Stores:
    """Open the database and the connection to the customers service.

    Args:
        settings: The settings.
        opened: Closes both.
    """
    database = Database.connect(settings.database, application_name="innosystem-wallets")
    opened.push_async_callback(database.close)
    transactions = SqlTransactions(database)
    channel = connect(
        settings.customers.address,
        deadline_seconds=settings.customers.deadline_seconds,
        transport=client_transport(),
        token=own_token(),
    )
    customers = CustomerServiceStub(await opened.enter_async_context(channel))
    known_keys = KnownKeys(settings.api_keys)
    invalidations = await _invalidations(settings.redis, known_keys, opened)
    REGISTRY.register(CacheCollector([known_keys.statistics]))
    resolve = RemoteApiKeys(customers.ResolveApiKey, ResolveApiKeyRequest, settings.api_keys.deadline_seconds).resolve
    return Stores(
        database=database,
        schema=SchemaGate.of("wallets", settings.database, metadata, database),
        transactions=transactions,
        wallets=SqlWalletRepository(transactions),
        ledger_transactions=SqlTransactionRepository(transactions),
        holds=SqlHoldRepository(transactions),
        ledger=SqlLedger(transactions),
        books=SqlBooksReader(transactions),
        api_keys=ApiKeys(resolve, known_keys, database.now),
        invalidations=invalidations,
    )


async def _invalidations(
    redis: RedisSettings | None, known_keys: KnownKeys, opened: AsyncExitStack
) -> Invalidations | None:
    """Have keys forgotten as soon as they are revoked; None without Redis, when that takes until their TTL."""
    if redis is None:
        return None
    invalidations = Invalidations(await opened.enter_async_context(pubsub_client(redis)), redis.key_prefix)
    invalidations.join(known_keys)
    return invalidations


def build_use_cases(settings: Settings, stores: Stores) -> UseCases:
    """Build the use cases on the stores."""
    wallets = WalletsService(
        stores.transactions,
        stores.wallets,
        stores.ledger_transactions,
        stores.holds,
        stores.ledger,
        lock_times=LockTimes(patient_seconds=settings.database.locked_row_seconds),
    )
    return UseCases(wallets, LedgerVerification(stores.transactions, stores.books))


def background(
    settings: Settings, stores: Stores, use_cases: UseCases
) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """Build the work that runs beside the server and waits for the schema, and register its metrics."""
    age = timedelta(days=settings.retention.holds_retention_days)
    retention = HoldRetention(stores.transactions, stores.holds, age=age)
    verify_every = timedelta(seconds=settings.verification.verify_seconds)
    monitor = BooksMonitor(stores.transactions, use_cases.verification, stores.books, verify_every)
    REGISTRY.register(BooksCollector(lambda: monitor.last))
    works = [Loop("hold retention", retention.round, every=_RETENTION_EVERY).run]
    if verify_every:
        works.append(monitor.run)
    listening = [] if stores.invalidations is None else [stores.invalidations.run]
    return [*listening, *map(stores.schema.before, works)]


async def main() -> None:
    """Serve until the process is asked to stop."""
    settings = Settings.load()
    async with AsyncExitStack() as opened:
        stores = await open_stores(settings, opened)
        limits = await opened.enter_async_context(open_limits("wallets", settings.limits, settings.redis))
        use_cases = build_use_cases(settings, stores)
        tokens = PageTokens(stores.schema.page_token_key)
        chosen = settings.charge_keys
        charge_keys = ChargeKeys(chosen.keys.get_secret_value(), chosen.keys_file, chosen.keys_kept_seconds)
        servicer = WalletServicer(
            use_cases.wallets,
            use_cases.verification,
            tokens,
            ContractValidator(),
            stores.database.time,
            vouchers=Vouchers(charge_keys, stores.database.now),
        )
        server = Server(
            settings=settings.server,
            served=[
                Served(
                    wallet_service_pb2.DESCRIPTOR.services_by_name["WalletService"],
                    lambda grpc_server: add_WalletServiceServicer_to_server(servicer, grpc_server),
                )
            ],
            authentication=authentication(stores.api_keys),
            transport=server_transport(),
            limits=limits,
            required={"database": stores.schema.check},
            database=lambda: stores.schema.identity,
            background=[*background(settings, stores, use_cases), *(loop.run for loop in charge_keys.loops)],
        )
        await server.run()


def run(arguments: Sequence[str] = ()) -> None:
    """Run the service as one process, or as several: `--processes 2`."""
    serve("wallets", main, WalletsServerSettings, arguments)


if __name__ == "__main__":
    run(sys.argv[1:])
