"""The wallets process: `python -m services.wallets`. The only place where its parts are put together."""

import sys
from collections.abc import Sequence
from datetime import timedelta

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
from services.wallets.background.books_monitor import Conservation
from services.wallets.background.retention import HoldRetention
from services.wallets.metrics import ConservationCollector
from services.wallets.rpc.servicer import WalletServicer
from services.wallets.settings import RetentionSettings, VerificationSettings, WalletsServerSettings
from services.wallets.store.ledger_sql import SqlLedger
from services.wallets.store.sql import SqlHoldRepository, SqlTransactionRepository, SqlWalletRepository
from services.wallets.store.tables import metadata
from services.wallets.store.verify_sql import SqlBooksReader
from services.wallets.usecases.verify_ledger import Verification
from services.wallets.usecases.wallets import WalletsService

_RETENTION_EVERY = timedelta(minutes=1)


async def main() -> None:
    """Builds the service and serves until it is told to stop."""
    server_settings = load(WalletsServerSettings, "WALLETS_")
    database_settings = load(DatabaseSettings, "WALLETS_DATABASE_")
    settings = load(VerificationSettings, "WALLETS_")
    retention_settings = load(RetentionSettings, "WALLETS_")
    database = Database.connect(database_settings, application_name="innosystem-wallets")
    schema = SchemaGate.of("wallets", database_settings, metadata, database)
    transactions = SqlTransactions(database)
    holds = SqlHoldRepository(transactions)
    service = WalletsService(
        transactions,
        SqlWalletRepository(transactions),
        SqlTransactionRepository(transactions),
        holds,
        SqlLedger(transactions),
        lock_times=LockTimes(patient_seconds=database_settings.locked_row_seconds),
    )
    retention = HoldRetention(transactions, holds, age=timedelta(days=retention_settings.holds_retention_days))
    loops = [Loop("hold retention", retention.round, every=_RETENTION_EVERY).run]
    books = SqlBooksReader(transactions)
    verification = Verification(transactions, books)
    conservation = Conservation(transactions, verification, books, timedelta(seconds=settings.verify_seconds))
    REGISTRY.register(ConservationCollector(conservation))
    if settings.verify_seconds:
        loops.append(conservation.run)
    tokens = PageTokens(schema.page_token_key)
    servicer = WalletServicer(service, verification, tokens, ContractValidator(), database.time)
    server = Server(
        settings=server_settings,
        served=[
            Served(
                wallet_service_pb2.DESCRIPTOR.services_by_name["WalletService"],
                lambda grpc_server: add_WalletServiceServicer_to_server(servicer, grpc_server),
            )
        ],
        required={"database": schema.check},
        background=[schema.before(loop) for loop in loops],
    )
    try:
        await server.run()
    finally:
        await database.close()


def run(arguments: Sequence[str] = ()) -> None:
    """Runs the service as a process, or as several: `--processes 2`."""
    serve("wallets", main, WalletsServerSettings, arguments)


if __name__ == "__main__":
    run(sys.argv[1:])
