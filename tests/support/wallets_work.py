"""A test's transaction on the ledger, and the use cases on it."""

from typing import Any

from services.kit.data.transactions.ambient import Transactions
from services.kit.data.transactions.memory import MemoryTransactions
from services.kit.data.transactions.sql import SqlTransactions
from services.wallets.store.ledger_sql import SqlLedger
from services.wallets.store.memory import (
    MemoryHoldRepository,
    MemoryLedger,
    MemoryTransactionRepository,
    MemoryWalletRepository,
)
from services.wallets.store.sql import SqlHoldRepository, SqlTransactionRepository, SqlWalletRepository
from services.wallets.store.verify_memory import MemoryBooksReader
from services.wallets.store.verify_sql import SqlBooksReader
from services.wallets.usecases.ports import BooksReader, HoldRepository, Ledger, TransactionRepository, WalletRepository
from services.wallets.usecases.verify_ledger import LedgerVerification
from services.wallets.usecases.wallets import WalletsService
from tests.support.work import Begin, Work


class WalletsWork(Work):
    """The repositories of the wallets service in a transaction."""

    def __init__(
        self,
        transactions: Transactions[Any],
        wallets: WalletRepository,
        ledger_transactions: TransactionRepository,
        *,
        holds: HoldRepository,
        ledger: Ledger,
        books: BooksReader,
    ) -> None:
        super().__init__(transactions)
        self.wallets = wallets
        self.ledger_transactions = ledger_transactions
        self.holds = holds
        self.ledger = ledger
        self.books = books

    @property
    def service(self) -> WalletsService:
        """The use cases on the same repositories."""
        return WalletsService(self.transactions, self.wallets, self.ledger_transactions, self.holds, self.ledger)

    @property
    def verification(self) -> LedgerVerification:
        """The check of the books."""
        return LedgerVerification(self.transactions, self.books)


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
