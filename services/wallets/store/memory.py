"""Wallets in memory, for tests."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from typing_extensions import override

from services.kit.data.audit.memory import MemoryAuditLog
from services.kit.data.repositories.memory import MemoryRepository, Unique
from services.kit.data.transactions.memory import MemoryTransactions
from services.wallets.rules import constraints
from services.wallets.rules.entities import Hold, NewWallet, Owner, Transaction, TransactionKind, Wallet
from services.wallets.rules.ledger import Decision, LedgerRows, Refundable, changes, decide
from services.wallets.rules.requests import WRITE_OFF_KEY_PREFIX, Request
from services.wallets.rules.resources import HOLDS, TRANSACTIONS, WALLETS
from services.wallets.rules.trail import entries
from services.wallets.usecases.ports import HoldRepository, Ledger, TransactionRepository, WalletRepository


class MemoryWalletRepository(MemoryRepository[Wallet, NewWallet], WalletRepository):
    """The wallets of a `MemoryStore`."""

    table = "wallets"
    entity = Wallet
    resource = WALLETS
    audited = True
    unique = (
        Unique(constraints.WALLET_ID, lambda wallet: wallet.id),
        Unique(constraints.WALLET_OWNER, lambda wallet: wallet.owner),
    )

    @override
    async def get_by_owner(self, owner: Owner) -> Wallet | None:
        return next((wallet for wallet in self._rows.values() if wallet.owner == owner), None)

    @override
    async def ids_of(self, customer_ids: Collection[UUID]) -> list[UUID]:
        return [wallet.id for wallet in self._rows.values() if wallet.customer_id in customer_ids]

    @override
    async def freeze(self, wallet_id: UUID) -> datetime:
        """Return the time: database transactions run one at a time."""
        return datetime.now(UTC)


class MemoryTransactionRepository(MemoryRepository[Transaction, Transaction], TransactionRepository):
    """The transactions of a `MemoryStore`."""

    table = "wallet_transactions"
    entity = Transaction
    resource = TRANSACTIONS
    unique = ()

    @override
    async def at(self, wallet_id: UUID, moment: datetime) -> Transaction | None:
        lines = [one for one in self._rows.values() if one.wallet_id == wallet_id and one.created_at <= moment]
        return max(lines, key=lambda one: one.sequence, default=None)


class MemoryHoldRepository(MemoryRepository[Hold, Hold], HoldRepository):
    """The holds of a `MemoryStore`."""

    table = "holds"
    entity = Hold
    resource = HOLDS
    unique = ()

    @override
    async def delete_ended(self, age: timedelta, limit: int) -> int:
        until = datetime.now(UTC) - age
        ended = [hold for hold in self._rows.values() if hold.resolved_at is not None and hold.resolved_at < until]
        ended = sorted(ended, key=lambda hold: (hold.created_at, hold.id))[:limit]
        for hold in ended:
            del self._rows[hold.id]
        return len(ended)


class MemoryLedger(Ledger):
    """The ledger of a `MemoryStore`. Its database transactions run one at a time, so it needs no locks."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._transactions = transactions
        self._trail = MemoryAuditLog(transactions)

    @override
    async def apply(
        self, requests: Sequence[Request], *, wait: bool = True, seek_charged: bool = False
    ) -> list[Decision]:
        tables = self._transactions.resource.tables
        wallets = tables.setdefault(MemoryWalletRepository.table, {})
        lines = tables.setdefault(MemoryTransactionRepository.table, {})
        holds = tables.setdefault(MemoryHoldRepository.table, {})
        rows = LedgerRows(
            list(wallets.values()),
            {(row.wallet_id, row.idempotency_key): row for row in lines.values()},
            holds,
            _refundables(lines.values()),
            charged={
                one.job_id: one.id
                for one in lines.values()
                if one.kind is TransactionKind.DEDUCTION and one.job_id is not None
            },
        )
        decisions = decide(rows, requests, datetime.now(UTC))
        found = changes(decisions)
        await self._trail.add(entries(requests, decisions, holds, self._transactions.transaction_id))
        lines.update({transaction.id: transaction for transaction in found.transactions})
        wallets.update({wallet.id: wallet for wallet in found.wallets})
        holds.update({hold.id: hold for hold in found.holds})
        return decisions


def _refundables(lines: Collection[Transaction]) -> list[Refundable]:
    refunded: Counter[UUID] = Counter()
    by_key = {(one.wallet_id, one.idempotency_key): one for one in lines}
    for one in lines:
        if one.refunds_transaction_id is not None:
            refunded[one.refunds_transaction_id] += one.amount_cents
        if one.kind is TransactionKind.DEDUCTION and one.job_id is not None:
            written_off = by_key.get((one.wallet_id, f"{WRITE_OFF_KEY_PREFIX}{one.job_id}"))
            refunded[one.id] += 0 if written_off is None else written_off.amount_cents
    return [Refundable(one, refunded[one.id]) for one in lines]
