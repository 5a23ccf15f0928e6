"""The books in the wallets database, read in short read-only transactions."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, DateTime, Interval, TextClause, Uuid, bindparam, text
from typing_extensions import override

from services.kit.data.transactions.sql import SqlTransactions
from tools.verify.findings import Limits
from tools.verify.lines import Deduction, HoldLine, HoldPosition, LedgerBooks, Range
from tools.verify.store.walking import WALK

_IDS = bindparam("ids", type_=ARRAY(Uuid()))
_BOUNDS = (bindparam("first", type_=Uuid()), bindparam("last", type_=Uuid()))
_DEDUCTION = (
    "SELECT job_id, id, wallet_id, amount_cents, hold_id FROM wallet_transactions WHERE kind = 'DEDUCTION' AND "
)
_OWNED = """
SELECT line.job_id, line.id, wallets.customer_id, wallets.currency, -line.amount_cents, line.hold_id
FROM ({}) AS line JOIN wallets ON wallets.id = line.wallet_id
"""
# WITH TIES, so that no page ends between the deductions of a job.
_DEDUCTIONS = text(
    _OWNED.format(
        f"{_DEDUCTION} job_id >= :first AND job_id <= :last ORDER BY job_id FETCH FIRST (:limit) ROWS WITH TIES"
    )
).bindparams(*_BOUNDS)
_DEDUCTIONS_OF = text(_OWNED.format(f"{_DEDUCTION} job_id = ANY(:ids)")).bindparams(_IDS)

_HOLD = """
SELECT hold.id AS hold_id, job_id, amount_cents, state, hold.created_at, wallets.customer_id, wallets.currency
FROM holds AS hold LEFT JOIN wallets ON wallets.id = hold.wallet_id
"""
_OLD_HOLDS = text(
    f"""
    {_HOLD} WHERE state = 'ACTIVE' AND hold.created_at < now() - :in_flight
        AND (hold.created_at, hold.id) > (:created_at, :hold_id)
    ORDER BY hold.created_at, hold.id LIMIT :limit
    """
).bindparams(
    bindparam("in_flight", type_=Interval()),
    bindparam("created_at", type_=DateTime(timezone=True)),
    bindparam("hold_id", type_=Uuid()),
)
_OLDEST_HOLDS = text(
    f"{_HOLD} WHERE state = 'ACTIVE' AND hold.created_at < now() - :in_flight"
    " ORDER BY hold.created_at, hold.id LIMIT :limit"
).bindparams(bindparam("in_flight", type_=Interval()))
_HOLDS_OF = text(f"{_HOLD} WHERE hold.id = ANY(:ids)").bindparams(_IDS)


class SqlLedgerBooks(LedgerBooks):
    """Deductions and holds, read by the index of the jobs' transactions, that of active holds, and the primary key.

    Args:
        transactions: Transactions of the wallets database.
        limits: The age at which a hold is judged.
    """

    def __init__(self, transactions: SqlTransactions, limits: Limits) -> None:
        self._transactions = transactions
        self._in_flight = limits.in_flight

    @override
    async def deductions(self, wanted: Range, limit: int) -> Sequence[Deduction]:
        rows = await self._read(_DEDUCTIONS, {**wanted._asdict(), "limit": limit}, walk=True)
        return [Deduction._make(row) for row in rows]

    @override
    async def deductions_of(self, job_ids: Sequence[UUID]) -> Sequence[Deduction]:
        return [Deduction._make(row) for row in await self._read(_DEDUCTIONS_OF, {"ids": list(job_ids)})]

    @override
    async def old_holds(self, after: HoldPosition | None, limit: int) -> Sequence[HoldLine]:
        parameters: dict[str, Any] = {"in_flight": self._in_flight, "limit": limit}
        if after is None:
            rows = await self._read(_OLDEST_HOLDS, parameters, walk=True)
        else:
            rows = await self._read(_OLD_HOLDS, {**parameters, **after._asdict()}, walk=True)
        return [HoldLine._make(row) for row in rows]

    @override
    async def holds_of(self, hold_ids: Sequence[UUID]) -> Sequence[HoldLine]:
        return [HoldLine._make(row) for row in await self._read(_HOLDS_OF, {"ids": list(hold_ids)})]

    async def _read(self, statement: TextClause, parameters: dict[str, Any], *, walk: bool = False) -> Sequence[Any]:
        async with self._transactions.begin(read_only=True):
            connection = self._transactions.resource
            if walk:
                await connection.execute(WALK)
            return (await connection.execute(statement, parameters)).all()
