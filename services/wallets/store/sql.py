"""Wallets in PostgreSQL."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID

from services.kit.data.corrupt import all_understood
from services.kit.data.engine.prepared import Row
from services.kit.data.errors import AlreadyExists, Conflict
from services.kit.data.repositories.sql import SqlRepository
from services.kit.errors import DataCorrupt
from services.kit.query.specification import Comparison, Operator
from services.wallets.rules.entities import Hold, HoldState, NewWallet, Owner, Transaction, Wallet
from services.wallets.rules.ledger import Charge, Key
from services.wallets.rules.rows_to_read import Wanted
from services.wallets.store import statements
from services.wallets.store.tables import holds, wallet_transactions, wallets
from services.wallets.usecases.ports import HOLDS, STATE, TRANSACTIONS, WALLETS


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

    async def freeze(self, wallet_id: UUID) -> datetime:
        """Lock its row against writers, but not against other readers, and then ask for the time."""
        await self._connection.execute(statements.FREEZE, {"wallet_id": wallet_id})
        moment: datetime = (await self._connection.execute(statements.NOW)).scalar_one()
        return moment

    async def of_owners(self, owners: Collection[Owner]) -> list[Wallet]:
        """Answers the wallets that exist as they are, locked or not."""
        return all_understood(await self._all(statements.OF_OWNERS, _by_owner(owners)))

    async def lock(self, wanted: Wanted, *, wait: bool) -> list[Wallet]:
        """Locks the wallets that exist until the transaction ends, and answers them.

        Args:
            wanted: Which.
            wait: Whether those are waited for that others have locked; else they are left out.
        """
        if wanted.only_by_owner:
            return all_understood(await self._all(statements.LOCK[wait], _by_owner(wanted.owners)))
        parameters = {**_by_owner(wanted.owners), "hold_ids": list(wanted.released), **wanted.charges}
        return all_understood(await self._all(statements.LOCK_NAMED[wait], parameters))

    async def store(self, changed: Sequence[Wallet]) -> None:
        """Stores what the ledger changed in locked wallets."""
        parameters = _by_column(statements.CHANGED_COLUMNS, changed)
        parameters["wallet_id"] = [wallet.id for wallet in changed]
        await self._execute(statements.STORE, parameters)


class SqlTransactionRepository(SqlRepository[Transaction, Transaction]):
    """The table `wallet_transactions`."""

    table = wallet_transactions
    entity = Transaction
    resource = TRANSACTIONS
    indexed = frozenset({"wallet_id", "job_id"})

    async def known(self, keys: Collection[Key]) -> tuple[datetime, dict[Key, Transaction | DataCorrupt]]:
        """Answers the database's time, and the transactions that were written under these keys."""
        parameters = {
            "wallet_id": [wallet_id for wallet_id, _ in keys],
            "idempotency_key": [key for _, key in keys],
        }
        now, rows = _with_time(await self._execute(statements.KNOWN, parameters))
        wallet_at, key_at = self._names.index("wallet_id"), self._names.index("idempotency_key")
        return now, {(row[wallet_at], row[key_at]): self._decoded(row) for row in rows}

    async def charges(self, wanted: Wanted) -> tuple[list[Charge], dict[UUID, DataCorrupt]]:
        """Answers the transactions that refunds name, and by ID what is not understood of them."""
        charges: list[Charge] = []
        corrupt: dict[UUID, DataCorrupt] = {}
        id_at = self._names.index("id")
        for *values, refunded_cents in await self._execute(statements.CHARGES, wanted.charges):
            transaction = self._decoded(values)
            if isinstance(transaction, DataCorrupt):
                corrupt[values[id_at]] = transaction
            else:
                # A sum of bigints is a numeric.
                charges.append(Charge(transaction, int(refunded_cents)))
        return charges, corrupt

    async def charged_by(self, job_ids: Collection[UUID]) -> dict[UUID, UUID]:
        """Return by which transactions jobs were charged, those that were."""
        rows = await self._execute(statements.CHARGED_BY, {"job_ids": list(job_ids)})
        return dict(rows)

    async def at(self, wallet_id: UUID, moment: datetime) -> Transaction | None:
        """Halves the range of sequences until one is left."""
        result = await self._connection.execute(statements.SEQUENCE_AT, {"wallet_id": wallet_id, "at": moment})
        lines = self.table.c
        return await self._one(
            self._select().where(lines.wallet_id == wallet_id, lines.sequence == result.scalar_one())
        )

    async def add(self, new: Sequence[Transaction]) -> None:
        """Stores what the ledger wrote in locked wallets."""
        await self._execute(statements.ADD, _by_column(statements.NEW_COLUMNS, new))


class SqlHoldRepository(SqlRepository[Hold, Hold]):
    """The table `holds`."""

    table = holds
    entity = Hold
    resource = HOLDS
    columns = statements.HOLD_COLUMNS
    indexed = frozenset({"id", "job_id"})

    def _leads(self, comparison: Comparison) -> bool:
        # Active holds have an index of their own.
        active = comparison.operand == STATE and comparison.operator is Operator.EQUAL
        return super()._leads(comparison) or (active and comparison.value is HoldState.ACTIVE)

    async def named(self, ids: Collection[UUID]) -> tuple[datetime, dict[UUID, Hold | DataCorrupt]]:
        """Answers the database's time, and those that exist."""
        now, rows = _with_time(await self._execute(statements.NAMED_HOLDS, {"ids": ids}))
        at = self._names.index("id")
        return now, {row[at]: self._decoded(row) for row in rows}

    async def add(self, new: Sequence[Hold]) -> None:
        """Stores new holds.

        Raises:
            Conflict: If another transaction stored one of them meanwhile: what was read before is not true any more.
        """
        try:
            await self._execute(statements.ADD_HOLDS, _by_column(statements.NEW_HOLD_COLUMNS, new))
        except AlreadyExists as error:
            raise Conflict from error

    async def delete_ended(self, age: timedelta, limit: int) -> int:
        """Delete them in one statement, skipping rows that another replica has locked."""
        deleted = await self._connection.execute(statements.DELETE_ENDED_HOLDS, {"age": age, "limit": limit})
        return deleted.rowcount

    async def resolve(self, resolved: Sequence[Hold]) -> None:
        """Stores what became of holds on locked wallets."""
        parameters = _by_column(statements.RESOLVED_COLUMNS, resolved)
        parameters["hold_id"] = [hold.id for hold in resolved]
        await self._execute(statements.RESOLVE_HOLDS, parameters)


def _by_owner(owners: Collection[Owner]) -> dict[str, list[Any]]:
    return {
        "customer_id": [owner.customer_id for owner in owners],
        "currency": [owner.currency for owner in owners],
    }


def _by_column(columns: Iterable[str], entities: Sequence[object]) -> dict[str, list[Any]]:
    return {name: list(map(attrgetter(name), entities)) for name in columns}


def _with_time(rows: Sequence[Row]) -> tuple[datetime, list[Row]]:
    """The time, which each row begins with, and the rows without it; of what was not found all else is null."""
    return rows[-1][0], [row[1:] for row in rows if row[1] is not None]
