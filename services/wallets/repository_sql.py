"""Wallets in PostgreSQL."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from services.kit.data.repository_sql import SqlRepository
from services.kit.data.transactions_sql import SqlTransactions
from services.wallets import statements
from services.wallets.domain import LedgerRequest, NewWallet, Owner, Transaction, Wallet
from services.wallets.ledger import Decision, Key, changes, decide
from services.wallets.models import wallet_transactions, wallets
from services.wallets.repository import TRANSACTIONS, WALLETS


class SqlWalletRepository(SqlRepository[Wallet, NewWallet]):
    """The table `wallets`."""

    table = wallets
    entity = Wallet
    resource = WALLETS
    audited = True

    async def get_by_owner(self, owner: Owner) -> Wallet | None:
        """Looks the unique key up."""
        columns = wallets.c
        return await self._one(
            self._select().where(columns.customer_id == owner.customer_id, columns.currency == owner.currency)
        )

    async def lock(self, owners: Collection[Owner]) -> list[Wallet]:
        """Locks the wallets that exist until the transaction ends, and answers them."""
        parameters = {
            "customer_id": [owner.customer_id for owner in owners],
            "currency": [owner.currency for owner in owners],
        }
        rows = await self._connection.execute(statements.LOCK, parameters)
        return [self._entity(row) for row in rows.mappings()]

    async def store(self, changed: Sequence[Wallet]) -> None:
        """Stores what the ledger changed in locked wallets."""
        parameters = _by_column(statements.CHANGED_COLUMNS, changed)
        parameters["wallet_id"] = [wallet.id for wallet in changed]
        await self._connection.execute(statements.STORE, parameters)


class SqlTransactionRepository(SqlRepository[Transaction, Transaction]):
    """The table `wallet_transactions`."""

    table = wallet_transactions
    entity = Transaction
    resource = TRANSACTIONS

    async def known(self, keys: Collection[Key]) -> tuple[datetime, dict[Key, Transaction]]:
        """Answers the database's time, and the transactions that were written under these keys."""
        parameters = {
            "wallet_id": [wallet_id for wallet_id, _ in keys],
            "idempotency_key": [key for _, key in keys],
        }
        result = await self._connection.execute(statements.KNOWN, parameters)
        rows = [dict(row) for row in result.mappings()]
        now: datetime = [row.pop("now") for row in rows][-1]
        transactions = [self._entity(row) for row in rows if row["id"] is not None]
        return now, {(one.wallet_id, one.idempotency_key): one for one in transactions}

    async def add(self, new: Sequence[Transaction]) -> None:
        """Stores what the ledger wrote in locked wallets."""
        await self._connection.execute(statements.ADD, _by_column(statements.NEW_COLUMNS, new))


class SqlLedger:
    """The ledger in the transaction that is open: four statements, however many requests."""

    def __init__(self, transactions: SqlTransactions) -> None:
        self._wallets = SqlWalletRepository(transactions)
        self._statements = SqlTransactionRepository(transactions)

    async def apply(self, requests: Sequence[LedgerRequest]) -> list[Decision]:
        """Locks, and only then reads: a key that another transaction wrote while this one waited has to be seen."""
        locked = await self._wallets.lock({request.owner for request in requests})
        ids = {wallet.owner: wallet.id for wallet in locked}
        now, known = await self._statements.known(
            {
                (wallet_id, request.idempotency_key)
                for request in requests
                if (wallet_id := ids.get(request.owner)) is not None
            }
        )
        decisions = decide(locked, known, requests, now)
        found = changes(decisions)
        if found.transactions:
            # In this order the foreign key's check finds the wallet locked already and has nothing to write on it.
            await self._statements.add(found.transactions)
            await self._wallets.store(found.wallets)
        return decisions


def _by_column(columns: Iterable[str], entities: Sequence[object]) -> dict[str, list[Any]]:
    return {name: [getattr(entity, name) for entity in entities] for name in columns}
