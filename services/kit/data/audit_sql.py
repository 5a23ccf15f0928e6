"""The audit trail in a database."""

from services.kit.data.audit import AUDIT_LOG, AuditEntry, NewAuditEntry
from services.kit.data.repository_sql import SqlRepository
from services.kit.data.tables import audit_log


class SqlAuditLog(SqlRepository[AuditEntry, NewAuditEntry]):
    """The table `audit_log`."""

    table = audit_log
    entity = AuditEntry
    resource = AUDIT_LOG
