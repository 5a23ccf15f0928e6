"""A test's transaction on the ledger, and the use cases on it."""

from typing import Any

from services.kit.data.transactions.ambient import Transactions
from services.kit.data.transactions.memory import MemoryTransactions
from services.kit.data.transactions.sql import SqlTransactions
from services.wallets.ledger_sql import SqlLedger
from services.wallets.repository import HoldRepository, Ledger, TransactionRepository, WalletRepository
from services.wallets.repository_memory import (
    MemoryHoldRepository,
    MemoryLedger,
    MemoryTransactionRepository,
    MemoryWalletRepository,
)
from services.wallets.repository_sql import SqlHoldRepository, SqlTransactionRepository, SqlWalletRepository
from services.wallets.service import WalletsService
from services.wallets.verification import BooksReader, Verification
from services.wallets.verification_memory import MemoryBooksReader
from services.wallets.verification_sql import SqlBooksReader
from tests.work import Begin, Work


class WalletsWork(Work):
    """The repositories of the wallets service in a transaction."""

    def __init__(
        self,
        transactions: Transactions[Any],
        wallets: WalletRepository,
        statements: TransactionRepository,
        *,
        holds: HoldRepository,
        ledger: Ledger,
        books: BooksReader,
    ) -> None:
        super().__init__(transactions)
        self.wallets = wallets
        self.statements = statements
        self.holds = holds
        self.ledger = ledger
        self.books = books

    @property
    def service(self) -> WalletsService:
        """The use cases on the same repositories."""
        return WalletsService(self.transactions, self.wallets, self.statements, self.holds, self.ledger)

    @property
    def verification(self) -> Verification:
        """The check of the books."""
        return Verification(self.transactions, self.books)


BeginWallets = Begin[WalletsWork]


def memory_work(transactions: MemoryTransactions) -> WalletsWork:
    """In memory."""
    return WalletsWork(
        transactions,
        MemoryWalletRepository(transactions),
        MemoryTransactionRepository(transactions),
        holds=MemoryHoldRepository(transactions),
        ledger=MemoryLedger(transactions),
        books=MemoryBooksReader(transactions),
    )


def sql_work(transactions: SqlTransactions) -> WalletsWork:
    """On PostgreSQL."""
    return WalletsWork(
        transactions,
        SqlWalletRepository(transactions),
        SqlTransactionRepository(transactions),
        holds=SqlHoldRepository(transactions),
        ledger=SqlLedger(transactions),
        books=SqlBooksReader(transactions),
    )
