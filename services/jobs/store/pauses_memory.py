"""Pauses, in memory, for tests."""

from uuid import UUID

from typing_extensions import override

from services.jobs.rules import trail
from services.jobs.rules.entities import Backlog
from services.jobs.usecases.ports import PauseRepository
from services.kit.data.audit.memory import MemoryAuditLog
from services.kit.data.transactions.memory import MemoryTransactions


class MemoryPauseRepository(PauseRepository):
    """The pauses of a `MemoryStore`."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._transactions = transactions

    @override
    async def set_queue(self, name: str, *, paused: bool) -> None:
        was_paused = name in await self.paused_queues()
        self._transactions.resource.tables.setdefault("queues", {})[name] = paused
        if was_paused != paused:
            transaction_id = self._transactions.transaction_id
            entry = trail.of_queue(name, transaction_id, was_paused=was_paused, paused=paused)
            await MemoryAuditLog(self._transactions).add([entry])

    @override
    async def paused_queues(self) -> set[str]:
        return {name for name, paused in self._transactions.resource.tables.get("queues", {}).items() if paused}

    @override
    async def paused_types(self) -> set[UUID]:
        return {key for key, one in self._transactions.resource.tables.get("job_types", {}).items() if one.paused}

    @override
    async def unserved(self) -> set[Backlog]:
        return set(self._transactions.resource.tables.get("unserved_types", {}))
