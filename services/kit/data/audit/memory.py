"""The audit trail in memory, for tests."""

from collections.abc import Sequence

from services.kit.data.audit.entries import AUDIT_LOG, AuditEntry, NewAuditEntry
from services.kit.data.repositories.memory import MemoryRepository


class MemoryAuditLog(MemoryRepository[AuditEntry, NewAuditEntry]):
    """The audit trail of a `MemoryStore`."""

    table = AUDIT_LOG.name
    entity = AuditEntry
    resource = AUDIT_LOG
    unique = ()

    async def add(self, entries: Sequence[NewAuditEntry]) -> None:
        """Record entries."""
        for one in entries:
            await self.create(one)
