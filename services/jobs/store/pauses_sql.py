"""Pauses, in PostgreSQL."""

from uuid import UUID

from typing_extensions import override

from services.jobs.rules import trail
from services.jobs.rules.entities import Backlog
from services.jobs.store.statements import pauses
from services.jobs.usecases.ports import PauseRepository
from services.kit.data.audit.sql import SqlAuditLog
from services.kit.data.transactions.sql import SqlTransactions


class SqlPauseRepository(PauseRepository):
    """The table `queues`, and the pauses in `job_types`."""

    def __init__(self, transactions: SqlTransactions) -> None:
        self._transactions = transactions
        self._trail = SqlAuditLog(transactions)

    @override
    async def set_queue(self, name: str, *, paused: bool) -> None:
        was_paused = name in await self.paused_queues()
        stored = await self._transactions.resource.execute(pauses.SET_QUEUE, {"name": name, "paused": paused})
        # A concurrent call may have done the same.
        if stored.rowcount and was_paused != paused:
            transaction_id = self._transactions.transaction_id
            await self._trail.add([trail.of_queue(name, transaction_id, was_paused=was_paused, paused=paused)])

    @override
    async def paused_queues(self) -> set[str]:
        return set((await self._transactions.resource.execute(pauses.PAUSED_QUEUES)).scalars())

    @override
    async def paused_types(self) -> set[UUID]:
        return set((await self._transactions.resource.execute(pauses.PAUSED_TYPES)).scalars())

    @override
    async def unserved(self) -> set[Backlog]:
        rows = await self._transactions.resource.execute(pauses.UNSERVED)
        return {Backlog(queue, job_type_id) for queue, job_type_id in rows}
