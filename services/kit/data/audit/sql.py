"""The audit trail in a database."""

from collections.abc import Sequence

from sqlalchemy import insert

from services.kit.data.audit.entries import AUDIT_LOG, AuditEntry, NewAuditEntry
from services.kit.data.repositories.sql import SqlRepository, values_of
from services.kit.data.tables import audit_log


class SqlAuditLog(SqlRepository[AuditEntry, NewAuditEntry]):
    """The table `audit_log`."""

    table = audit_log
    entity = AuditEntry
    resource = AUDIT_LOG

    async def add(self, entries: Sequence[NewAuditEntry]) -> None:
        """Record entries, in one statement."""
        if entries:
            await self._connection.execute(insert(audit_log), [values_of(one) for one in entries])
