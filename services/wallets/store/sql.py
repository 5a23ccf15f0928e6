"""Wallets in PostgreSQL."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID

from typing_extensions import override

from services.kit.data.corrupt import all_understood
from services.kit.data.engine.prepared import Row
from services.kit.data.errors import AlreadyExists, Conflict
from services.kit.data.repositories.sql import SqlRepository
from services.kit.errors import DataCorrupt
from services.kit.query.resource import Ordering
from services.kit.query.specification import Comparison, Operator
from services.wallets.rules.entities import Hold, HoldState, NewWallet, Owner, Transaction, Wallet
from services.wallets.rules.ledger import Key, Refundable
from services.wallets.rules.resources import HOLDS, STATE, TRANSACTIONS, WALLETS
from services.wallets.rules.rows_to_read import RowsToRead
from services.wallets.store import statements
from services.wallets.store.tables import holds, wallet_transactions, wallets
from services.wallets.usecases.ports import HoldRepository, TransactionRepository, WalletRepository


class SqlWalletRepository(SqlRepository[Wallet, NewWallet], WalletRepository):
    """The table `wallets`."""

    table = wallets
    entity = Wallet
    resource = WALLETS
    audited = True

    @override
    async def get_by_owner(self, owner: Owner) -> Wallet | None:
        columns = wallets.c
        return await self._one(
            self._select().where(columns.customer_id == owner.customer_id, columns.currency == owner.currency)
        )

    @override
    async def ids_of(self, customer_ids: Collection[UUID]) -> list[UUID]:
        rows = await self._execute(statements.IDS_OF_CUSTOMERS, {"customer_ids": list(customer_ids)})
        return [wallet_id for (wallet_id,) in rows]

    @override
    async def freeze(self, wallet_id: UUID) -> datetime:
        """Lock the row against writers, but not against readers, and then read the time."""
        await self._connection.execute(statements.FREEZE, {"wallet_id": wallet_id})
        moment: datetime = (await self._connection.execute(statements.NOW)).scalar_one()
        return moment

    async def of_owners(self, owners: Collection[Owner]) -> list[Wallet]:
        """Return the existing wallets, locked or not."""
        return all_understood(await self._all(statements.OF_OWNERS, _by_owner(owners)))

    async def lock(self, rows: RowsToRead, *, wait: bool) -> list[Wallet]:
        """Lock the existing wallets until the database transaction ends, and return them.

        Args:
            rows: The rows that the requests name.
            wait: Whether to wait for wallets that others have locked; otherwise they are left out.
        """
        if rows.only_by_owner:
            return all_understood(await self._all(statements.LOCK[wait], _by_owner(rows.owners)))
        parameters = {**_by_owner(rows.owners), "hold_ids": list(rows.released), **rows.refundable_parameters}
        return all_understood(await self._all(statements.LOCK_NAMED[wait], parameters))

    async def store(self, changed: Sequence[Wallet]) -> None:
        """Store the changes of locked wallets."""
        parameters = _by_column(statements.CHANGED_COLUMNS, changed)
        parameters["wallet_id"] = [wallet.id for wallet in changed]
        await self._execute(statements.STORE, parameters)


class SqlTransactionRepository(SqlRepository[Transaction, Transaction], TransactionRepository):
    """The table `wallet_transactions`."""

    table = wallet_transactions
    entity = Transaction
    resource = TRANSACTIONS
    indexed = frozenset({"wallet_id", "job_id"})

    async def written(self, keys: Collection[Key]) -> tuple[datetime, dict[Key, Transaction | DataCorrupt]]:
        """Return the database's time, and the transactions that were written under these keys."""
        parameters = {
            "wallet_id": [wallet_id for wallet_id, _ in keys],
            "idempotency_key": [key for _, key in keys],
        }
        now, rows = _with_time(await self._execute(statements.WRITTEN, parameters))
        wallet_at, key_at = self._names.index("wallet_id"), self._names.index("idempotency_key")
        return now, {(row[wallet_at], row[key_at]): self._decoded(row) for row in rows}

    async def refundables(self, rows: RowsToRead) -> tuple[list[Refundable], dict[UUID, DataCorrupt]]:
        """Return the transactions that refunds name, and the errors of the unreadable ones by ID."""
        refundables: list[Refundable] = []
        corrupt: dict[UUID, DataCorrupt] = {}
        id_at = self._names.index("id")
        for *values, refunded_cents in await self._execute(statements.REFUNDABLES, rows.refundable_parameters):
            transaction = self._decoded(values)
            if isinstance(transaction, DataCorrupt):
                corrupt[values[id_at]] = transaction
            else:
                # A sum of bigints is a numeric.
                refundables.append(Refundable(transaction, int(refunded_cents)))
        return refundables, corrupt

    async def charged_by(self, job_ids: Collection[UUID]) -> dict[UUID, UUID]:
        """Return the transactions that charged jobs, by job."""
        rows = await self._execute(statements.CHARGED_BY, {"job_ids": list(job_ids)})
        return dict(rows)

    @override
    async def at(self, wallet_id: UUID, moment: datetime) -> Transaction | None:
        """Halve the range of sequences until one is left."""
        result = await self._connection.execute(statements.SEQUENCE_AT, {"wallet_id": wallet_id, "at": moment})
        lines = self.table.c
        return await self._one(
            self._select().where(lines.wallet_id == wallet_id, lines.sequence == result.scalar_one())
        )

    async def add(self, new: Sequence[Transaction]) -> None:
        """Store new transactions of locked wallets."""
        await self._execute(statements.ADD, _by_column(statements.NEW_COLUMNS, new))


class SqlHoldRepository(SqlRepository[Hold, Hold], HoldRepository):
    """The table `holds`."""

    table = holds
    entity = Hold
    resource = HOLDS
    columns = statements.HOLD_COLUMNS
    indexed = frozenset({"id", "job_id", "wallet_id"})

    def _leads(self, ordering: Ordering, comparison: Comparison) -> bool:
        # Active holds have an index of their own.
        active = comparison.operand == STATE and comparison.operator is Operator.EQUAL
        return super()._leads(ordering, comparison) or (active and comparison.value is HoldState.ACTIVE)

    async def named(self, ids: Collection[UUID]) -> tuple[datetime, dict[UUID, Hold | DataCorrupt]]:
        """Return the database's time, and the existing holds by ID."""
        now, rows = _with_time(await self._execute(statements.NAMED_HOLDS, {"ids": ids}))
        at = self._names.index("id")
        return now, {row[at]: self._decoded(row) for row in rows}

    async def add(self, new: Sequence[Hold]) -> None:
        """Store new holds.

        Raises:
            Conflict: If another transaction stored one of them in the meantime: the rows read before are outdated.
        """
        try:
            await self._execute(statements.ADD_HOLDS, _by_column(statements.NEW_HOLD_COLUMNS, new))
        except AlreadyExists as error:
            raise Conflict from error

    @override
    async def delete_ended(self, age: timedelta, limit: int) -> int:
        """Delete them in one statement, skipping rows locked by another replica."""
        deleted = await self._connection.execute(statements.DELETE_ENDED_HOLDS, {"age": age, "limit": limit})
        return deleted.rowcount

    async def resolve(self, resolved: Sequence[Hold]) -> None:
        """Store the final states of holds on locked wallets."""
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
    """Split off the time, with which all rows begin; in the row of an outer join without match, the rest is null."""
    return rows[-1][0], [row[1:] for row in rows if row[1] is not None]
