"""The ledger in PostgreSQL."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from uuid import UUID

from services.kit.data.corrupt import understood
from services.kit.data.errors import Conflict
from services.kit.data.transactions_sql import SqlTransactions
from services.kit.errors import DataCorrupt
from services.wallets.domain import Hold, Transaction
from services.wallets.ledger import Books, Changes, Charge, Decision, Key, changes, decide
from services.wallets.repository_sql import SqlHoldRepository, SqlTransactionRepository, SqlWalletRepository
from services.wallets.requests import Request
from services.wallets.wanted import Wanted


class SqlLedger:
    """The ledger in the transaction that is open.

    Credits and charges without holds are four statements, however many there are. So are holds alone; charges that
    capture holds are two more, and refunds one.
    """

    def __init__(self, transactions: SqlTransactions) -> None:
        self._wallets = SqlWalletRepository(transactions)
        self._statements = SqlTransactionRepository(transactions)
        self._holds = SqlHoldRepository(transactions)

    async def apply(self, requests: Sequence[Request]) -> list[Decision]:
        """Locks, and only then reads: a key that another transaction wrote while this one waited has to be seen."""
        wanted = Wanted.by(requests)
        if wanted.only_by_owner:
            locked = await self._wallets.lock(wanted.owners)
        else:
            locked = await self._wallets.lock_named(wanted)
        ids = {wallet.owner: wallet.id for wallet in locked}
        charges, corrupt = await self._statements.charges(wanted) if wanted.names_charges else ([], {})
        now, holds, known = await self._read(wanted.placed | wanted.released, wanted.keys(ids, charges))
        _check_locked(
            ids.values(), charges, [hold for hold in understood(holds.values()) if hold.id in wanted.released]
        )
        decisions = decide(Books(locked, known, holds, charges, corrupt), requests, now)
        await self._write(changes(decisions), holds)
        return decisions

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


def _check_locked(locked: Iterable[UUID], charges: Iterable[Charge], released: Iterable[Hold]) -> None:
    # A hold or charge that was not there when the wallets were locked may have come since, with a wallet of its own.
    wallets = {charge.transaction.wallet_id for charge in charges}
    wallets.update(hold.wallet_id for hold in released if hold.wallet_id is not None)
    if not wallets <= set(locked):
        raise Conflict
