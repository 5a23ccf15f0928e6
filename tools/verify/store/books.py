"""Connections to the databases that are checked."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.settings import DatabaseSettings
from services.wallets.store.verify_sql import SqlBooksReader
from services.wallets.usecases.verify_ledger import LedgerVerification
from tools.verify.findings import Limits
from tools.verify.store.customers import SqlCustomersBooks
from tools.verify.store.jobs import SqlJobsBooks
from tools.verify.store.ledger import SqlLedgerBooks
from tools.verify.store.repair import SqlJobsRepairs
from tools.verify.store.row_rules import CUSTOMERS, HOLDS, JOB_TYPES, TRANSACTIONS, WALLETS
from tools.verify.store.rows import SqlRowBooks
from tools.verify.verification import PlatformBooks

_APPLICATION = "innosystem-verify"


@dataclass(frozen=True)
class OpenBooks:
    """The books, and the repairs of jobs."""

    books: PlatformBooks
    repairs: SqlJobsRepairs


@asynccontextmanager
async def open_books(
    customers: DatabaseSettings, wallets: DatabaseSettings, jobs: DatabaseSettings, limits: Limits
) -> AsyncIterator[OpenBooks]:
    """Yield the books of three databases, and close their connections at the end of the block.

    Args:
        customers: The database of the customers service.
        wallets: The database of the wallets service.
        jobs: The database of the jobs service.
        limits: The limits, the same as of `verify`.
    """
    async with AsyncExitStack() as opened:
        in_customers, in_wallets, in_jobs = (
            SqlTransactions(_opened(opened, settings)) for settings in (customers, wallets, jobs)
        )
        rules = ((in_customers, (CUSTOMERS,)), (in_wallets, (WALLETS, TRANSACTIONS, HOLDS)), (in_jobs, (JOB_TYPES,)))
        books = PlatformBooks(
            jobs=SqlJobsBooks(in_jobs, limits),
            ledger=SqlLedgerBooks(in_wallets, limits),
            wallets=LedgerVerification(in_wallets, SqlBooksReader(in_wallets)),
            customers=SqlCustomersBooks(in_customers),
            rows=[SqlRowBooks(transactions, rule, limits) for transactions, own in rules for rule in own],
        )
        yield OpenBooks(books, SqlJobsRepairs(in_jobs))


def _opened(stack: AsyncExitStack, settings: DatabaseSettings) -> Database:
    # Each statement reads thousands of rows, so statements that are slow for a service are no reason to warn.
    patient = settings.model_copy(update={"slow_query_seconds": settings.statement_timeout_seconds})
    database = Database.connect(patient, application_name=_APPLICATION)
    stack.push_async_callback(database.close)
    return database
