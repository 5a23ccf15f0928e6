"""What of the ledger's changes is written to the audit trail as well: those that people make.

Charges and the holds of jobs are not: they come by the thousand, each from a job that says why.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from services.kit.data import audit
from services.kit.errors import DataCorrupt
from services.wallets.domain import Hold
from services.wallets.ledger import Accepted, Decision, Held
from services.wallets.requests import Credit, Refund, ReleaseHold, Request, WriteOff

_BY_HAND = (Credit, Refund, WriteOff)


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
        if isinstance(request, _BY_HAND) and isinstance(decision, Accepted) and not decision.replayed:
            lines = [line for line in (decision.adjustment, decision.transaction) if line is not None]
            found += [
                audit.entry("wallet_transactions", transaction_id, None, line, request.caused_by) for line in lines
            ]
        elif isinstance(request, ReleaseHold) and isinstance(decision, Held) and not decision.replayed:
            if request.caused_by is None:
                continue
            before = holds.get(request.hold_id)
            found.append(audit.entry("holds", transaction_id, before, decision.hold, request.caused_by))
    return found
