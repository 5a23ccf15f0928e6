"""Conversion between the messages of the wallets contract and the domain."""

from uuid import UUID

from uuid_utils.compat import uuid7

from innosystem.wallets.v1 import wallet_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as pb
from services.kit.auth.principal import Kind
from services.kit.observability.caller import Caller, caller
from services.kit.rpc.convert import numbers, optional_id, required_id, timestamp
from services.wallets.rules.entities import (
    CounterAccount,
    Hold,
    HoldState,
    Owner,
    Transaction,
    TransactionKind,
    Wallet,
    WalletReference,
)
from services.wallets.rules.ledger import Accepted, WrittenOff
from services.wallets.rules.requests import Credit, Deduct, JobCharge, Refund, WriteOff

_HOLD_STATES = numbers(HoldState, wallet_pb2.HoldState, "HOLD_STATE_")
_KINDS = numbers(TransactionKind, wallet_pb2.TransactionKind, "TRANSACTION_KIND_")
_COUNTER_ACCOUNTS = numbers(CounterAccount, wallet_pb2.CounterAccount, "COUNTER_ACCOUNT_")


def wallet_message(wallet: Wallet) -> wallet_pb2.Wallet:
    """Return the wallet as clients see it."""
    return wallet_pb2.Wallet(
        id=str(wallet.id),
        customer_id=str(wallet.customer_id),
        currency=wallet.currency,
        current_balance_cents=wallet.current_balance_cents,
        pending_charges_cents=wallet.pending_charges_cents,
        available_cents=wallet.available_cents,
        created_at=timestamp(wallet.created_at),
        updated_at=timestamp(wallet.updated_at),
        etag=wallet.etag,
    )


def past_wallet_message(wallet: Wallet) -> wallet_pb2.Wallet:
    """Return a wallet at a past time, of which only the balance is recorded."""
    message = wallet_message(wallet)
    for name in ("pending_charges_cents", "available_cents", "etag"):
        message.ClearField(name)
    return message


def hold_message(hold: Hold) -> wallet_pb2.Hold:
    """Return the hold as clients see it."""
    return wallet_pb2.Hold(
        id=str(hold.id),
        wallet_id=_text(hold.wallet_id),
        customer_id=_text(hold.customer_id),
        currency=hold.currency or "",
        job_id=_text(hold.job_id),
        amount_cents=hold.amount_cents,
        state=_HOLD_STATES[hold.state],
        created_at=timestamp(hold.created_at),
        resolved_at=timestamp(hold.resolved_at),
    )


def transaction_message(transaction: Transaction, wallet: Wallet) -> wallet_pb2.Transaction:
    """Return a line of the wallet's statement as clients see it."""
    return wallet_pb2.Transaction(
        id=str(transaction.id),
        wallet_id=str(transaction.wallet_id),
        currency=wallet.currency,
        sequence=transaction.sequence,
        kind=_KINDS[transaction.kind],
        counter_account=_COUNTER_ACCOUNTS[transaction.counter_account],
        amount_cents=transaction.amount_cents,
        balance_after_cents=transaction.balance_after_cents,
        idempotency_key=transaction.idempotency_key,
        job_id=_text(transaction.job_id),
        hold_id=_text(transaction.hold_id),
        refunds_transaction_id=_text(transaction.refunds_transaction_id),
        description=transaction.description,
        created_at=timestamp(transaction.created_at),
        vouched_by=transaction.vouched_by or "",
    )


def credit_response(accepted: Accepted) -> pb.CreditResponse:
    """Return the response to a credit."""
    return pb.CreditResponse(
        transaction=transaction_message(accepted.transaction, accepted.wallet),
        wallet=wallet_message(accepted.wallet),
        replayed=accepted.replayed,
    )


def deduct_response(accepted: Accepted, receipt: bytes) -> pb.DeductResponse:
    """Return the response to a deduction."""
    return pb.DeductResponse(
        transaction=transaction_message(accepted.transaction, accepted.wallet),
        wallet=wallet_message(accepted.wallet),
        replayed=accepted.replayed,
        receipt=receipt,
    )


def refund_response(accepted: Accepted) -> pb.RefundResponse:
    """Return the response to a refund."""
    return pb.RefundResponse(
        transaction=transaction_message(accepted.transaction, accepted.wallet),
        wallet=wallet_message(accepted.wallet),
        replayed=accepted.replayed,
    )


def write_off_response(written_off: WrittenOff) -> pb.WriteOffResponse:
    """Return the response to a write-off."""
    return pb.WriteOffResponse(
        adjustment=transaction_message(written_off.adjustment, written_off.wallet),
        transaction=transaction_message(written_off.transaction, written_off.wallet),
        wallet=wallet_message(written_off.wallet),
        replayed=written_off.replayed,
    )


def credit(request: pb.CreditRequest) -> Credit:
    """Return the credit of a request.

    Raises:
        InvalidField: If the key is reserved.
    """
    return Credit(
        transaction_id=uuid7(),
        owner=Owner(UUID(request.customer_id), request.currency),
        amount_cents=request.amount_cents,
        idempotency_key=request.idempotency_key,
        description=request.description,
    )


def deduct(request: pb.DeductRequest) -> Deduct:
    """Return the deduction of a request.

    Raises:
        InvalidField: If the key does not fit the job.
    """
    job_id = optional_id(request.job_id)
    return Deduct(
        transaction_id=uuid7(),
        owner=Owner(UUID(request.customer_id), request.currency),
        amount_cents=request.amount_cents,
        idempotency_key=request.idempotency_key,
        job_id=job_id,
        hold_id=optional_id(request.hold_id),
        description=request.description,
        caused_by=cause(for_job=job_id is not None),
    )


def cause(*, for_job: bool) -> Caller | None:
    """Return the caller of a request that the audit trail records; None for one that a job explains.

    Args:
        for_job: Whether the request names a job. Runners and services then do what the job needs; an operator does it
            by hand.
    """
    who = caller.get()
    return None if for_job and who.kind != Kind.OPERATOR else who


def refund(request: pb.RefundRequest) -> Refund:
    """Return the refund of a request.

    Raises:
        InvalidField: If the key is reserved.
    """
    by_job = request.WhichOneof("charge") == "job_id"
    return Refund(
        transaction_id=uuid7(),
        charge=JobCharge(UUID(request.job_id)) if by_job else UUID(request.transaction_id),
        amount_cents=request.amount_cents,
        idempotency_key=request.idempotency_key,
        description=request.description,
    )


def write_off(request: pb.WriteOffRequest) -> WriteOff:
    """Return the write-off of a request. The IDs are in the order of the lines."""
    return WriteOff(
        adjustment_id=uuid7(),
        deduction_id=uuid7(),
        owner=Owner(UUID(request.customer_id), request.currency),
        amount_cents=request.amount_cents,
        job_id=UUID(request.job_id),
        hold_id=optional_id(request.hold_id),
        description=request.description,
    )


def wallet_reference(
    request: pb.GetWalletRequest | pb.ListTransactionsRequest,
) -> WalletReference:
    """Return the wallet that a request names.

    Raises:
        InvalidField: If an ID is not a UUID.
    """
    if request.WhichOneof("wallet") == "owner":
        owner = request.owner
        return Owner(required_id(owner.customer_id, "owner.customer_id"), owner.currency)
    return required_id(request.wallet_id, "wallet_id")


def _text(identity: UUID | None) -> str:
    return "" if identity is None else str(identity)
