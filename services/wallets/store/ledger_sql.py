"""The ledger in PostgreSQL."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from typing_extensions import override

from services.kit.data.audit.sql import SqlAuditLog
from services.kit.data.corrupt import understood
from services.kit.data.dialects.postgresql import SHORT_LOCK_TIMEOUT
from services.kit.data.errors import AlreadyExists, Conflict
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.errors import DataCorrupt, RowLocked
from services.wallets.rules.entities import Hold, Transaction
from services.wallets.rules.ledger import Changes, Decision, Key, LedgerRows, Refundable, changes, decide
from services.wallets.rules.requests import Request
from services.wallets.rules.rows_to_read import RowsToRead, WalletLocks
from services.wallets.rules.trail import entries
from services.wallets.store.sql import SqlHoldRepository, SqlTransactionRepository, SqlWalletRepository
from services.wallets.usecases.ports import Ledger


@dataclass(frozen=True)
class _Stored:
    """The stored rows that requests name, besides wallets.

    Attributes:
        now: The database's time.
        holds: The holds, by ID.
        written: The transactions under the requests' keys.
    """

    now: datetime
    holds: dict[UUID, Hold | DataCorrupt]
    written: dict[Key, Transaction | DataCorrupt]


class SqlLedger(Ledger):
    """The ledger in the open database transaction.

    Any number of credits and of charges without holds takes four statements. So do holds alone; charges that capture
    holds take two more, and refunds one. Requests by people take one more, for the audit trail.
    """

    def __init__(self, transactions: SqlTransactions) -> None:
        self._transactions = transactions
        self._wallets = SqlWalletRepository(transactions)
        self._ledger_transactions = SqlTransactionRepository(transactions)
        self._holds = SqlHoldRepository(transactions)
        self._trail = SqlAuditLog(transactions)

    @override
    async def apply(
        self, requests: Sequence[Request], *, wait: bool = True, seek_charged: bool = False
    ) -> list[Decision]:
        if not wait:
            # An insert may wait as well: for another transaction that is placing a hold with the same ID.
            await self._transactions.resource.execute(SHORT_LOCK_TIMEOUT)
        rows = RowsToRead.of(requests)
        # Lock first, and only then read: a key that another transaction wrote in the meantime must be visible.
        locked = await self._wallets.lock(rows, wait=wait)
        ids = {wallet.owner: wallet.id for wallet in locked}
        refundables, corrupt = await self._ledger_transactions.refundables(rows) if rows.has_refunds else ([], {})
        charged = await self._ledger_transactions.charged_by(rows.charged_job_ids) if seek_charged else {}
        stored = await self._read(rows.placed | rows.released, rows.keys(ids, refundables))
        if wait:
            released = [hold for hold in understood(stored.holds.values()) if hold.id in rows.released]
            _check_locked(ids.values(), refundables, released)
            free = requests
        else:
            others = rows.owners - ids.keys()
            taken = {wallet.owner for wallet in await self._wallets.of_owners(others)} if others else set()
            locks = WalletLocks(taken, set(ids.values()), stored.holds, refundables)
            free = [request for request in requests if not locks.block(request)]
        ledger_rows = LedgerRows(locked, stored.written, stored.holds, refundables, corrupt, charged)
        decisions = decide(ledger_rows, free, stored.now)
        try:
            await self._write(changes(decisions), stored.holds)
        except AlreadyExists as error:
            if seek_charged:
                # Another transaction has charged the job to another wallet in the meantime.
                raise Conflict from error
            raise
        await self._trail.add(entries(free, decisions, stored.holds, self._transactions.transaction_id))
        return decisions if len(free) == len(requests) else _with_locked(requests, free, decisions)

    async def _read(self, hold_ids: Collection[UUID], keys: Collection[Key]) -> _Stored:
        """Read holds and the transactions under keys; an empty collection costs no statement."""
        if not hold_ids:
            now, written = await self._ledger_transactions.written(keys)
            return _Stored(now, {}, written)
        now, holds = await self._holds.named(hold_ids)
        if not keys:
            return _Stored(now, holds, {})
        now, written = await self._ledger_transactions.written(keys)
        return _Stored(now, holds, written)

    async def _write(self, found: Changes, known: Collection[UUID]) -> None:
        # The rows that refer to wallets go first: the foreign keys' checks find the wallets locked and write nothing.
        if found.transactions:
            await self._ledger_transactions.add(found.transactions)
        if new := [hold for hold in found.holds if hold.id not in known]:
            await self._holds.add(new)
        if resolved := [hold for hold in found.holds if hold.id in known]:
            await self._holds.resolve(resolved)
        if found.wallets:
            await self._wallets.store(found.wallets)


def _with_locked(requests: Sequence[Request], free: Sequence[Request], decisions: Sequence[Decision]) -> list[Decision]:
    by_request = {id(request): decision for request, decision in zip(free, decisions, strict=True)}
    return [by_request.get(id(request)) or RowLocked() for request in requests]


def _check_locked(locked: Iterable[UUID], refundables: Iterable[Refundable], released: Iterable[Hold]) -> None:
    # A hold or charge that was inserted after the wallets were locked may belong to another wallet.
    wallets = {refundable.transaction.wallet_id for refundable in refundables}
    wallets.update(hold.wallet_id for hold in released if hold.wallet_id is not None)
    if not wallets <= set(locked):
        raise Conflict
