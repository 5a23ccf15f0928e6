"""A test's transaction on the ledger, and the use cases on it."""

from typing import Any

from services.kit.data.transactions import Transactions
from services.kit.data.transactions_memory import MemoryTransactions
from services.kit.data.transactions_sql import SqlTransactions
from services.wallets.repository import Ledger, TransactionRepository, WalletRepository
from services.wallets.repository_memory import MemoryLedger, MemoryTransactionRepository, MemoryWalletRepository
from services.wallets.repository_sql import SqlLedger, SqlTransactionRepository, SqlWalletRepository
from services.wallets.service import WalletsService
from tests.work import Begin, Work


class WalletsWork(Work):
    """The repositories of the wallets service in a transaction."""

    def __init__(
        self,
        transactions: Transactions[Any],
        wallets: WalletRepository,
        statements: TransactionRepository,
        ledger: Ledger,
    ) -> None:
        super().__init__(transactions)
        self.wallets = wallets
        self.statements = statements
        self.ledger = ledger

    @property
    def service(self) -> WalletsService:
        """The use cases on the same repositories."""
        return WalletsService(self.transactions, self.wallets, self.statements, self.ledger)


BeginWallets = Begin[WalletsWork]


def memory_work(transactions: MemoryTransactions) -> WalletsWork:
    """In memory."""
    return WalletsWork(
        transactions,
        MemoryWalletRepository(transactions),
        MemoryTransactionRepository(transactions),
        MemoryLedger(transactions),
    )


def sql_work(transactions: SqlTransactions) -> WalletsWork:
    """On PostgreSQL."""
    return WalletsWork(
        transactions,
        SqlWalletRepository(transactions),
        SqlTransactionRepository(transactions),
        SqlLedger(transactions),
    )
