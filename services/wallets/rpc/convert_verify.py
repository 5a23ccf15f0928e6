"""Conversion between the messages of VerifyLedger and the check."""

from innosystem.wallets.v1 import wallet_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as pb
from services.kit.query.fields import IntegerField, UuidField
from services.kit.query.page import PageTokens
from services.wallets.rules.books import START, Findings, Offender, Position, TrialBalance
from services.wallets.rules.entities import BALANCE_CENTS_MAX

_ORDERING = (
    UuidField("wallet_id", sortable=True).ascending(),
    IntegerField("sequence", sortable=True).ascending(),
)
_BINDING = b"ledger"

_TRANSACTIONS_DEFAULT = 50_000
_TRANSACTIONS_MAX = 200_000
_OFFENDERS_DEFAULT = 20
_OFFENDERS_MAX = 1000


def position(request: pb.VerifyLedgerRequest, tokens: PageTokens) -> Position:
    """Return where the page begins.

    Raises:
        InvalidPageToken: If the token belongs to another call.
    """
    cursor = tokens.decode(request.page_token, _ORDERING, _BINDING)
    return START if cursor is None else Position(*cursor)


def limit(request: pb.VerifyLedgerRequest) -> int:
    """Return the maximum number of transactions to check."""
    return min(request.page_size or _TRANSACTIONS_DEFAULT, _TRANSACTIONS_MAX)


def response(found: Findings, request: pb.VerifyLedgerRequest, tokens: PageTokens) -> pb.VerifyLedgerResponse:
    """Return the response to a page of the check."""
    named = min(request.max_offenders or _OFFENDERS_DEFAULT, _OFFENDERS_MAX)
    cursor = None if found.position is None else (found.position.wallet_id, found.position.sequence)
    return pb.VerifyLedgerResponse(
        wallets=found.wallets,
        transactions=found.transactions,
        active_holds=found.active_holds,
        sequence_gaps=found.sequence_gaps,
        ledger_imbalance_cents=_int64(found.ledger_imbalance_cents),
        pending_imbalance_cents=_int64(found.pending_imbalance_cents),
        trial_balances=[_trial(currency, trial) for currency, trial in sorted(found.trials.items())],
        offenders=[_offender(one) for one in found.offenders[:named]],
        offender_count=len(found.offenders),
        next_page_token=tokens.encode(cursor, _ORDERING, _BINDING),
    )


def _trial(currency: str, trial: TrialBalance) -> wallet_pb2.TrialBalance:
    return wallet_pb2.TrialBalance(
        currency=currency,
        balance_cents=_int64(trial.balance_cents),
        pending_cents=_int64(trial.pending_cents),
        funding_cents=_int64(trial.funding_cents),
        revenue_cents=_int64(trial.revenue_cents),
        adjustment_cents=_int64(trial.adjustment_cents),
    )


def _offender(offender: Offender) -> wallet_pb2.LedgerOffender:
    return wallet_pb2.LedgerOffender(
        wallet_id=str(offender.wallet_id),
        problem=wallet_pb2.LedgerProblem.Value(f"LEDGER_PROBLEM_{offender.problem.name}"),
        description=offender.description,
    )


def _int64(cents: int) -> int:
    # Each wallet fits into an int64, but their sum may not.
    return max(-BALANCE_CENTS_MAX, min(cents, BALANCE_CENTS_MAX))
