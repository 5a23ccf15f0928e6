"""Wallets in memory, for tests."""

from collections.abc import Sequence
from datetime import UTC, datetime

from services.kit.data.repository_memory import MemoryRepository, Unique
from services.kit.data.transactions_memory import MemoryTransactions
from services.wallets.domain import LedgerRequest, NewWallet, Owner, Transaction, Wallet
from services.wallets.ledger import Decision, changes, decide
from services.wallets.repository import ID_CONSTRAINT, OWNER_CONSTRAINT, TRANSACTIONS, WALLETS


class MemoryWalletRepository(MemoryRepository[Wallet, NewWallet]):
    """The wallets of a `MemoryStore`."""

    table = "wallets"
    entity = Wallet
    resource = WALLETS
    audited = True
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
    """The ledger of a `MemoryStore`. Its transactions run one at a time, so nothing has to be locked."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._transactions = transactions

    async def apply(self, requests: Sequence[LedgerRequest]) -> list[Decision]:
        """Decides on all that is stored."""
        tables = self._transactions.resource.tables
        wallets = tables.setdefault(MemoryWalletRepository.table, {})
        statements = tables.setdefault(MemoryTransactionRepository.table, {})
        known = {(row.wallet_id, row.idempotency_key): row for row in statements.values()}
        decisions = decide(list(wallets.values()), known, requests, datetime.now(UTC))
        found = changes(decisions)
        statements.update({transaction.id: transaction for transaction in found.transactions})
        wallets.update({wallet.id: wallet for wallet in found.wallets})
        return decisions
