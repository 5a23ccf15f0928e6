"""The ledger in PostgreSQL."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from uuid import UUID

from services.kit.data.audit.sql import SqlAuditLog
from services.kit.data.corrupt import understood
from services.kit.data.dialects.postgresql import SHORT_LOCK_TIMEOUT
from services.kit.data.errors import AlreadyExists, Conflict
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.errors import DataCorrupt, RowLocked
from services.wallets.rules.entities import Hold, Transaction
from services.wallets.rules.ledger import Books, Changes, Charge, Decision, Key, changes, decide
from services.wallets.rules.requests import Request
from services.wallets.rules.rows_to_read import Named, Wanted
from services.wallets.rules.trail import entries
from services.wallets.store.sql import SqlHoldRepository, SqlTransactionRepository, SqlWalletRepository


class SqlLedger:
    """The ledger in the transaction that is open.

    Credits and charges without holds are four statements, however many there are. So are holds alone; charges that
    capture holds are two more, and refunds one. What people do is one more, to the audit trail.
    """

    def __init__(self, transactions: SqlTransactions) -> None:
        self._transactions = transactions
        self._wallets = SqlWalletRepository(transactions)
        self._statements = SqlTransactionRepository(transactions)
        self._holds = SqlHoldRepository(transactions)
        self._trail = SqlAuditLog(transactions)

    async def apply(
        self, requests: Sequence[Request], *, wait: bool = True, seek_charged: bool = False
    ) -> list[Decision]:
        """Locks, and only then reads: a key that another transaction wrote while this one waited has to be seen."""
        if not wait:
            # What is stored may be waited for as well: a hold of this ID, which another transaction is placing.
            await self._transactions.resource.execute(SHORT_LOCK_TIMEOUT)
        wanted = Wanted.by(requests)
        locked = await self._wallets.lock(wanted, wait=wait)
        ids = {wallet.owner: wallet.id for wallet in locked}
        charges, corrupt = await self._statements.charges(wanted) if wanted.names_charges else ([], {})
        charged = await self._statements.charged_by(wanted.charged_job_ids) if seek_charged else {}
        now, holds, known = await self._read(wanted.placed | wanted.released, wanted.keys(ids, charges))
        if wait:
            released = [hold for hold in understood(holds.values()) if hold.id in wanted.released]
            _check_locked(ids.values(), charges, released)
            free = requests
        else:
            others = wanted.owners - ids.keys()
            taken = {wallet.owner for wallet in await self._wallets.of_owners(others)} if others else set()
            names = Named(taken, set(ids.values()), holds, charges)
            free = [request for request in requests if not names.is_locked(request)]
        decisions = decide(Books(locked, known, holds, charges, corrupt, charged), free, now)
        try:
            await self._write(changes(decisions), holds)
        except AlreadyExists as error:
            if seek_charged:
                # Somebody has charged a job meanwhile, and another wallet for it.
                raise Conflict from error
            raise
        await self._trail.add(entries(free, decisions, holds, self._transactions.transaction_id))
        return decisions if len(free) == len(requests) else _with_locked(requests, free, decisions)

    async def _read(
        self, named: Collection[UUID], keys: Collection[Key]
    ) -> tuple[datetime, dict[UUID, Hold | DataCorrupt], dict[Key, Transaction | DataCorrupt]]:
        """The time, and what is stored of holds and keys; what nobody asks for is not looked for."""
        if not named:
            now, known = await self._statements.known(keys)
            return now, {}, known
        now, holds = await self._holds.named(named)
        if not keys:
            return now, holds, {}
        now, known = await self._statements.known(keys)
        return now, holds, known

    async def _write(self, found: Changes, known: Collection[UUID]) -> None:
        # What refers to wallets goes first: then the foreign keys' checks find them locked and have nothing to write.
        if found.transactions:
            await self._statements.add(found.transactions)
        if new := [hold for hold in found.holds if hold.id not in known]:
            await self._holds.add(new)
        if resolved := [hold for hold in found.holds if hold.id in known]:
            await self._holds.resolve(resolved)
        if found.wallets:
            await self._wallets.store(found.wallets)


def _with_locked(requests: Sequence[Request], free: Sequence[Request], decisions: Sequence[Decision]) -> list[Decision]:
    by_request = {id(request): decision for request, decision in zip(free, decisions, strict=True)}
    return [by_request.get(id(request)) or RowLocked() for request in requests]


def _check_locked(locked: Iterable[UUID], charges: Iterable[Charge], released: Iterable[Hold]) -> None:
    # A hold or charge that was not there when the wallets were locked may have come since, with a wallet of its own.
    wallets = {charge.transaction.wallet_id for charge in charges}
    wallets.update(hold.wallet_id for hold in released if hold.wallet_id is not None)
    if not wallets <= set(locked):
        raise Conflict
