"""The progress of the hold auditor, in PostgreSQL. Rows locked by another replica are skipped."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from typing_extensions import override

from services.jobs.rules.entities import Release
from services.jobs.store.statements import hold_audit
from services.jobs.usecases.ports import AuditProgress
from services.kit.data.transactions.sql import SqlTransactions


class SqlAuditProgress(AuditProgress):
    """The table `hold_audit`."""

    def __init__(self, transactions: SqlTransactions) -> None:
        self._transactions = transactions

    @override
    async def window(self, age: timedelta) -> tuple[datetime, datetime]:
        found = await self._transactions.resource.execute(hold_audit.AUDIT_WINDOW, {"age": age})
        since, until = found.one()
        return since, until

    @override
    async def move(self, done_until: datetime) -> None:
        await self._transactions.resource.execute(hold_audit.MOVE_AUDIT, {"until": done_until})

    @override
    async def keep(self, unreleased: Sequence[Release], wait: timedelta) -> None:
        hold_ids, job_ids = [one.hold_id for one in unreleased], [one.job_id for one in unreleased]
        parameters = {"hold_ids": hold_ids, "job_ids": job_ids, "wait": wait}
        await self._transactions.resource.execute(hold_audit.KEEP_UNRELEASED, parameters)

    @override
    async def take(self, limit: int, wait: timedelta, longest: timedelta) -> list[Release]:
        parameters = {"limit": limit, "wait": wait, "longest": longest}
        rows = await self._transactions.resource.execute(hold_audit.TAKE_UNRELEASED, parameters)
        return [Release(hold_id=hold_id, job_id=job_id) for hold_id, job_id in rows]

    @override
    async def forget(self, hold_ids: Collection[UUID]) -> None:
        await self._transactions.resource.execute(hold_audit.FORGET_UNRELEASED, {"hold_ids": list(hold_ids)})

    @override
    async def count(self) -> int:
        found: int = (await self._transactions.resource.execute(hold_audit.COUNT_UNRELEASED)).scalar_one()
        return found
