"""Wallets in PostgreSQL."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    DateTime,
    Text,
    Uuid,
    and_,
    func,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from services.kit.data.arrays import unnest
from services.kit.data.repository_sql import SqlRepository
from services.kit.data.unit_of_work import SqlUnitOfWork
from services.wallets.domain import LedgerRequest, NewWallet, Owner, Transaction, Wallet
from services.wallets.ledger import Decision, Key, changes, decide
from services.wallets.models import wallet_transactions, wallets
from services.wallets.repository import TRANSACTIONS, WALLETS


class SqlWalletRepository(SqlRepository[Wallet, NewWallet]):
    """The table `wallets`."""

    table = wallets
    entity = Wallet
    resource = WALLETS

    async def get_by_owner(self, owner: Owner) -> Wallet | None:
        """Looks the unique key up."""
        columns = wallets.c
        return await self._one(
            self._select().where(columns.customer_id == owner.customer_id, columns.currency == owner.currency)
        )

    async def lock(self, owners: Collection[Owner]) -> list[Wallet]:
        """Locks the wallets that exist, in the order of their IDs, so that no two units wait for each other.

        The lock lets others check foreign keys to a wallet, which no charge changes.
        """
        wanted = unnest(
            "wanted",
            {
                "customer_id": (Uuid, [owner.customer_id for owner in owners]),
                "currency": (Text, [owner.currency for owner in owners]),
            },
        )
        statement = (
            self._select()
            .join(
                wanted,
                and_(
                    wallets.c.customer_id == wanted.c.customer_id,
                    wallets.c.currency == wanted.c.currency,
                ),
            )
            .order_by(wallets.c.id)
            .with_for_update(key_share=True, of=wallets)
        )
        return await self._all(statement)

    async def store(self, changed: Sequence[Wallet]) -> None:
        """Stores what the ledger changed in locked wallets."""
        rows = unnest(
            "changed",
            {
                "id": (Uuid, [wallet.id for wallet in changed]),
                "balance": (BigInteger, [wallet.current_balance_cents for wallet in changed]),
                "sequence": (BigInteger, [wallet.last_sequence for wallet in changed]),
                "at": (DateTime(timezone=True), [wallet.updated_at for wallet in changed]),
                "version": (BigInteger, [wallet.version for wallet in changed]),
            },
        )
        await self._connection.execute(
            update(wallets)
            .where(wallets.c.id == rows.c.id)
            .values(
                current_balance_cents=rows.c.balance,
                last_sequence=rows.c.sequence,
                updated_at=rows.c.at,
                version=rows.c.version,
            )
        )


class SqlTransactionRepository(SqlRepository[Transaction, Transaction]):
    """The table `wallet_transactions`."""

    table = wallet_transactions
    entity = Transaction
    resource = TRANSACTIONS

    async def known(self, keys: Collection[Key]) -> tuple[datetime, dict[Key, Transaction]]:
        """Answers the database's time, and the transactions that were written under these keys.

        The time is the statement's: asked for after the wallets are locked, it is later than what was written before.
        """
        columns = wallet_transactions.c
        wanted = unnest(
            "wanted",
            {
                "wallet_id": (Uuid, [wallet_id for wallet_id, _ in keys]),
                "key": (Text, [key for _, key in keys]),
            },
        )
        found = wallet_transactions.join(
            wanted,
            and_(columns.wallet_id == wanted.c.wallet_id, columns.idempotency_key == wanted.c.key),
        )
        clock = select(func.statement_timestamp().label("now")).subquery("clock")
        # The outer join answers the time also where there is no transaction.
        statement = select(clock.c.now, *self._select().selected_columns).select_from(clock.outerjoin(found, true()))
        rows = [dict(row) for row in (await self._connection.execute(statement)).mappings()]
        now: datetime = rows[0]["now"]
        for row in rows:
            del row["now"]
        transactions = [self._entity(row) for row in rows if row["id"] is not None]
        return now, {(one.wallet_id, one.idempotency_key): one for one in transactions}

    async def add(self, new: Sequence[Transaction]) -> None:
        """Stores what the ledger wrote in locked wallets."""
        rows = unnest(
            "new",
            {
                column.name: (column.type, [getattr(one, column.name) for one in new])
                for column in wallet_transactions.columns
            },
        )
        names = [column.name for column in wallet_transactions.columns]
        await self._connection.execute(insert(wallet_transactions).from_select(names, select(*rows.c)))


class SqlLedger:
    """The ledger on the connection of a unit of work: four statements, however many requests.

    Args:
        wallets: The wallets on the connection.
        transactions: The transactions on the connection.
    """

    def __init__(self, wallets: SqlWalletRepository, transactions: SqlTransactionRepository) -> None:
        self._wallets = wallets
        self._transactions = transactions

    async def apply(self, requests: Sequence[LedgerRequest]) -> list[Decision]:
        """Locks, and only then reads: a key that another unit wrote while this one waited has to be seen."""
        locked = await self._wallets.lock({request.owner for request in requests})
        ids = {wallet.owner: wallet.id for wallet in locked}
        now, known = await self._transactions.known(
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
            await self._transactions.add(found.transactions)
            await self._wallets.store(found.wallets)
        return decisions


class SqlWalletsUnitOfWork(SqlUnitOfWork):
    """A transaction on the wallets database."""

    wallets: SqlWalletRepository
    transactions: SqlTransactionRepository
    ledger: SqlLedger

    def bind(self, connection: AsyncConnection) -> None:
        """Makes the repositories on the connection."""
        self.wallets = SqlWalletRepository(connection)
        self.transactions = SqlTransactionRepository(connection)
        self.ledger = SqlLedger(self.wallets, self.transactions)
