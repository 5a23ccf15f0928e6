"""The wallets process: `python -m services.wallets`. The only module that puts its parts together."""

import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from prometheus_client import REGISTRY

from innosystem.wallets.v1 import wallet_service_pb2
from innosystem.wallets.v1.wallet_service_pb2_grpc import add_WalletServiceServicer_to_server
from services.kit.background import Loop
from services.kit.batching.locked_lane import LockTimes
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.migrations.startup import SchemaGate
from services.kit.query.page import PageTokens
from services.kit.rpc.serving.server import Served, Server, serve
from services.kit.rpc.validation import ContractValidator
from services.kit.settings import DatabaseSettings, load
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
class Stores:
    """The stored wallets, transactions and holds."""

    transactions: SqlTransactions
    wallets: SqlWalletRepository
    ledger_transactions: SqlTransactionRepository
    holds: SqlHoldRepository
    ledger: SqlLedger
    books: SqlBooksReader

    @classmethod
    def of(cls, database: Database) -> "Stores":
        """Create the stores of a database."""
        transactions = SqlTransactions(database)
        return cls(
            transactions,
            SqlWalletRepository(transactions),
            SqlTransactionRepository(transactions),
            SqlHoldRepository(transactions),
            SqlLedger(transactions),
            SqlBooksReader(transactions),
        )


@dataclass(frozen=True)
class UseCases:
    """The use cases of the service."""

    wallets: WalletsService
    verification: LedgerVerification

    @classmethod
    def of(cls, stores: Stores, lock_times: LockTimes) -> "UseCases":
        """Create the use cases on the stores."""
        wallets = WalletsService(
            stores.transactions,
            stores.wallets,
            stores.ledger_transactions,
            stores.holds,
            stores.ledger,
            lock_times=lock_times,
        )
        return cls(wallets, LedgerVerification(stores.transactions, stores.books))


def background(stores: Stores, use_cases: UseCases) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """Create the background work, and register its metrics."""
    verify_seconds = load(VerificationSettings, "WALLETS_").verify_seconds
    age = timedelta(days=load(RetentionSettings, "WALLETS_").holds_retention_days)
    retention = HoldRetention(stores.transactions, stores.holds, age=age)
    every = timedelta(seconds=verify_seconds)
    monitor = BooksMonitor(stores.transactions, use_cases.verification, stores.books, every)
    REGISTRY.register(BooksCollector(lambda: monitor.last))
    works = [Loop("hold retention", retention.round, every=_RETENTION_EVERY).run]
    return [*works, monitor.run] if verify_seconds else works


async def main() -> None:
    """Build the service and serve until the process is asked to stop."""
    server_settings = load(WalletsServerSettings, "WALLETS_")
    database_settings = load(DatabaseSettings, "WALLETS_DATABASE_")
    async with AsyncExitStack() as opened:
        database = Database.connect(database_settings, application_name="innosystem-wallets")
        opened.push_async_callback(database.close)
        schema = SchemaGate.of("wallets", database_settings, metadata, database)
        stores = Stores.of(database)
        use_cases = UseCases.of(stores, LockTimes(patient_seconds=database_settings.locked_row_seconds))
        servicer = WalletServicer(
            use_cases.wallets,
            use_cases.verification,
            PageTokens(schema.page_token_key),
            ContractValidator(),
            database.time,
        )
        server = Server(
            settings=server_settings,
            served=[
                Served(
                    wallet_service_pb2.DESCRIPTOR.services_by_name["WalletService"],
                    lambda grpc_server: add_WalletServiceServicer_to_server(servicer, grpc_server),
                )
            ],
            required={"database": schema.check},
            background=[schema.before(work) for work in background(stores, use_cases)],
        )
        await server.run()


def run(arguments: Sequence[str] = ()) -> None:
    """Run the service as one process, or as several: `--processes 2`."""
    serve("wallets", main, WalletsServerSettings, arguments)


if __name__ == "__main__":
    run(sys.argv[1:])
