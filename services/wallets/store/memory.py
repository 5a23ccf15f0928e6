"""Wallets in memory, for tests."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.kit.data.audit.memory import MemoryAuditLog
from services.kit.data.repositories.memory import MemoryRepository, Unique
from services.kit.data.transactions.memory import MemoryTransactions
from services.wallets.rules.entities import Hold, NewWallet, Owner, Transaction, TransactionKind, Wallet
from services.wallets.rules.ledger import Books, Charge, Decision, changes, decide
from services.wallets.rules.requests import WRITE_OFF_KEY_PREFIX, Request
from services.wallets.rules.trail import entries
from services.wallets.usecases.ports import HOLDS, ID_CONSTRAINT, OWNER_CONSTRAINT, TRANSACTIONS, WALLETS


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

    async def freeze(self, wallet_id: UUID) -> datetime:
        """Tell the time: transactions run one at a time."""
        return datetime.now(UTC)


class MemoryTransactionRepository(MemoryRepository[Transaction, Transaction]):
    """The transactions of a `MemoryStore`."""

    table = "wallet_transactions"
    entity = Transaction
    resource = TRANSACTIONS
    unique = ()

    async def at(self, wallet_id: UUID, moment: datetime) -> Transaction | None:
        """Looks at all of them."""
        lines = [one for one in self._rows.values() if one.wallet_id == wallet_id and one.created_at <= moment]
        return max(lines, key=lambda one: one.sequence, default=None)


class MemoryHoldRepository(MemoryRepository[Hold, Hold]):
    """The holds of a `MemoryStore`."""

    table = "holds"
    entity = Hold
    resource = HOLDS
    unique = ()

    async def delete_ended(self, age: timedelta, limit: int) -> int:
        """Delete them one by one."""
        until = datetime.now(UTC) - age
        ended = [hold for hold in self._rows.values() if hold.resolved_at is not None and hold.resolved_at < until]
        ended = sorted(ended, key=lambda hold: (hold.created_at, hold.id))[:limit]
        for hold in ended:
            del self._rows[hold.id]
        return len(ended)


class MemoryLedger:
    """The ledger of a `MemoryStore`. Its transactions run one at a time, so nothing has to be locked."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._transactions = transactions
        self._trail = MemoryAuditLog(transactions)

    async def apply(
        self, requests: Sequence[Request], *, wait: bool = True, seek_charged: bool = False
    ) -> list[Decision]:
        """Decides on all that is stored."""
        tables = self._transactions.resource.tables
        wallets = tables.setdefault(MemoryWalletRepository.table, {})
        statements = tables.setdefault(MemoryTransactionRepository.table, {})
        holds = tables.setdefault(MemoryHoldRepository.table, {})
        books = Books(
            list(wallets.values()),
            {(row.wallet_id, row.idempotency_key): row for row in statements.values()},
            holds,
            _charges(statements.values()),
            charged={
                one.job_id: one.id
                for one in statements.values()
                if one.kind is TransactionKind.DEDUCTION and one.job_id is not None
            },
        )
        decisions = decide(books, requests, datetime.now(UTC))
        found = changes(decisions)
        await self._trail.add(entries(requests, decisions, holds, self._transactions.transaction_id))
        statements.update({transaction.id: transaction for transaction in found.transactions})
        wallets.update({wallet.id: wallet for wallet in found.wallets})
        holds.update({hold.id: hold for hold in found.holds})
        return decisions


def _charges(statements: Collection[Transaction]) -> list[Charge]:
    refunded: Counter[UUID] = Counter()
    by_key = {(one.wallet_id, one.idempotency_key): one for one in statements}
    for one in statements:
        if one.refunds_transaction_id is not None:
            refunded[one.refunds_transaction_id] += one.amount_cents
        if one.kind is TransactionKind.DEDUCTION and one.job_id is not None:
            written_off = by_key.get((one.wallet_id, f"{WRITE_OFF_KEY_PREFIX}{one.job_id}"))
            refunded[one.id] += 0 if written_off is None else written_off.amount_cents
    return [Charge(one, refunded[one.id]) for one in statements]
