"""Repairs of jobs in the jobs database."""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, Uuid, bindparam, text
from typing_extensions import override

from services.kit.data.audit import entries as audit
from services.kit.data.audit.sql import SqlAuditLog
from services.kit.data.transactions.sql import SqlTransactions
from tools.verify.findings import Rebill, TryNow
from tools.verify.repair import JobsRepairs

# Charging a job again can't charge it twice: the deduction's key is the job's ID. The attempts start at 0, so that the
# settler does not wait for the backoff of earlier attempts.
_REBILL = text(
    """
    UPDATE jobs SET transaction_id = :charged_by, settle_attempts = 0, version = version + 1,
        billing_status = CASE WHEN :is_charged THEN 'CHARGED' ELSE 'CHARGE_DUE' END,
        next_try_at = CASE WHEN :is_charged THEN NULL ELSE now() END
    WHERE id = :id AND billing_status = :billing_status AND transaction_id IS NOT DISTINCT FROM :transaction_id
    """
).bindparams(
    bindparam("id", type_=Uuid()), bindparam("charged_by", type_=Uuid()), bindparam("transaction_id", type_=Uuid())
)
_TRY_NOW = text(
    """
    UPDATE jobs SET next_try_at = now(), version = version + 1
    WHERE id = :id AND billing_status = :billing_status AND next_try_at IS NULL
    """
).bindparams(bindparam("id", type_=Uuid()))


class SqlJobsRepairs(JobsRepairs):
    """Repairs of jobs. Each is a separate transaction, guarded by the state that was judged.

    Args:
        transactions: Transactions of the jobs database.
    """

    def __init__(self, transactions: SqlTransactions) -> None:
        self._transactions = transactions
        self._trail = SqlAuditLog(transactions)

    @override
    async def rebill(self, repair: Rebill) -> bool:
        parameters = {
            "id": repair.job_id,
            "billing_status": repair.billing_status,
            "transaction_id": repair.transaction_id,
            "charged_by": repair.charged_by,
            "is_charged": repair.charged_by is not None,
        }
        before = _RepairedJob(repair.job_id, repair.billing_status, repair.transaction_id)
        after = _RepairedJob(repair.job_id, "CHARGED" if repair.charged_by else "CHARGE_DUE", repair.charged_by)
        return await self._change(_REBILL, parameters, before, after)

    @override
    async def try_now(self, repair: TryNow) -> bool:
        before = _RepairedJob(repair.job_id, repair.billing_status)
        after = replace(before, next_try="now")
        return await self._change(
            _TRY_NOW, {"id": repair.job_id, "billing_status": repair.billing_status}, before, after
        )

    async def _change(
        self, statement: TextClause, parameters: dict[str, Any], before: "_RepairedJob", after: "_RepairedJob"
    ) -> bool:
        async with self._transactions.begin():
            changed = (await self._transactions.resource.execute(statement, parameters)).rowcount == 1
            if changed:
                await self._trail.add([audit.entry("jobs", self._transactions.transaction_id, before, after)])
            return changed


@dataclass(frozen=True)
class _RepairedJob:
    """The entry of a repaired job in the audit trail."""

    id: UUID
    billing_status: str
    transaction_id: UUID | None = None
    next_try: str | None = None
