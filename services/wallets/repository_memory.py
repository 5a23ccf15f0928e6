"""Wallets in memory, for tests."""

from collections.abc import Sequence
from datetime import UTC, datetime

from services.kit.data.repository_memory import MemoryRepository, Unique
from services.kit.data.unit_of_work import MemoryStore, MemoryUnitOfWork
from services.wallets.domain import LedgerRequest, NewWallet, Owner, Transaction, Wallet
from services.wallets.ledger import Decision, changes, decide
from services.wallets.repository import ID_CONSTRAINT, OWNER_CONSTRAINT, TRANSACTIONS, WALLETS


class MemoryWalletRepository(MemoryRepository[Wallet, NewWallet]):
    """The wallets of a `MemoryStore`."""

    table = "wallets"
    entity = Wallet
    resource = WALLETS
    unique = (
        Unique(ID_CONSTRAINT, lambda wallet: wallet.id),
        Unique(OWNER_CONSTRAINT, lambda wallet: wallet.owner),
    )

    async def get_by_owner(self, owner: Owner) -> Wallet | None:
        """Looks at all of them."""
        return next((wallet for wallet in self._rows.values() if wallet.owner == owner), None)


class MemoryTransactionRepository(MemoryRepository[Transaction, Transaction]):
    """The transactions of a `MemoryStore`."""

    table = "wallet_transactions"
    entity = Transaction
    resource = TRANSACTIONS
    unique = ()


class MemoryLedger:
    """The ledger of a `MemoryStore`. Its units of work run one at a time, so nothing has to be locked."""

    def __init__(self, store: MemoryStore) -> None:
        self._wallets = store.tables.setdefault(MemoryWalletRepository.table, {})
        self._transactions = store.tables.setdefault(MemoryTransactionRepository.table, {})

    async def apply(self, requests: Sequence[LedgerRequest]) -> list[Decision]:
        """Decides on all that is stored."""
        wallets = [row for row in self._wallets.values() if isinstance(row, Wallet)]
        known = {
            (row.wallet_id, row.idempotency_key): row
            for row in self._transactions.values()
            if isinstance(row, Transaction)
        }
        decisions = decide(wallets, known, requests, datetime.now(UTC))
        found = changes(decisions)
        self._transactions.update({transaction.id: transaction for transaction in found.transactions})
        self._wallets.update({wallet.id: wallet for wallet in found.wallets})
        return decisions


class MemoryWalletsUnitOfWork(MemoryUnitOfWork):
    """A transaction on the wallets of a `MemoryStore`."""

    wallets: MemoryWalletRepository
    transactions: MemoryTransactionRepository
    ledger: MemoryLedger

    def bind(self, store: MemoryStore) -> None:
        """Makes the repositories on the store."""
        self.wallets = MemoryWalletRepository(store)
        self.transactions = MemoryTransactionRepository(store)
        self.ledger = MemoryLedger(store)
