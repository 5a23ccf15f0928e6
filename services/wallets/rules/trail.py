"""The changes of the ledger that the audit trail records as well: those made by people.

The charges and holds of jobs are left out: they come by the thousand, and the job explains each of them. A request
therefore carries its cause only where the audit trail needs it.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from services.kit.data.audit import entries as audit
from services.kit.errors import DataCorrupt, DomainError
from services.wallets.rules.entities import Hold
from services.wallets.rules.ledger import Decision, Held
from services.wallets.rules.requests import Request


def entries(
    requests: Sequence[Request],
    decisions: Sequence[Decision],
    holds: Mapping[UUID, Hold | DataCorrupt],
    database_transaction_id: str,
) -> list[audit.NewAuditEntry]:
    """Return the entries of what people changed by these requests; replayed and refused requests changed nothing.

    Args:
        requests: In order.
        decisions: The decision on each request.
        holds: The holds that were stored before.
        database_transaction_id: The ID of the open database transaction.
    """
    found: list[audit.NewAuditEntry] = []
    for request, decision in zip(requests, decisions, strict=True):
        if request.caused_by is None or isinstance(decision, DomainError) or decision.replayed:
            continue
        by = request.caused_by
        if isinstance(decision, Held):
            hold = decision.hold
            found.append(audit.entry("holds", database_transaction_id, holds.get(hold.id), hold, by))
        else:
            table = "wallet_transactions"
            found += [audit.entry(table, database_transaction_id, None, line, by) for line in decision.lines]
    return found
