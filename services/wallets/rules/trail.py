"""What of the ledger's changes is written to the audit trail as well: those that people make.

Charges and the holds of jobs are not: they come by the thousand, each from a job that says why. So whoever makes a
request says who caused it, and leaves it out there.
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
    transaction_id: str,
) -> list[audit.NewAuditEntry]:
    """Return the entries of what people changed by these requests; what was replayed or refused changed nothing.

    Args:
        requests: In order.
        decisions: What became of each.
        holds: Those that were there before.
        transaction_id: Of the transaction that is open.
    """
    found: list[audit.NewAuditEntry] = []
    for request, decision in zip(requests, decisions, strict=True):
        if request.caused_by is None or isinstance(decision, DomainError) or decision.replayed:
            continue
        by = request.caused_by
        if isinstance(decision, Held):
            hold = decision.hold
            found.append(audit.entry("holds", transaction_id, holds.get(hold.id), hold, by))
        else:
            lines = (line for line in (decision.adjustment, decision.transaction) if line is not None)
            found += [audit.entry("wallet_transactions", transaction_id, None, line, by) for line in lines]
    return found
