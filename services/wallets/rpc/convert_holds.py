"""Conversion between the messages about holds and the domain."""

from uuid import UUID

from innosystem.wallets.v1 import wallet_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as pb
from services.kit.errors import DomainError
from services.kit.rpc.convert import id_or_new
from services.kit.rpc.status import to_status
from services.wallets.rpc.convert import cause, hold_message, wallet_message
from services.wallets.rules.entities import Owner
from services.wallets.rules.ledger import Held
from services.wallets.rules.requests import PlaceHold, ReleaseHold


def place(request: pb.PlaceHoldRequest) -> PlaceHold:
    """Return the hold to place."""
    return PlaceHold(
        hold_id=id_or_new(request.hold_id),
        job_id=UUID(request.job_id),
        owner=Owner(UUID(request.customer_id), request.currency),
        amount_cents=request.amount_cents,
        caused_by=cause(for_job=True),
    )


def release(request: pb.ReleaseHoldRequest) -> ReleaseHold:
    """Return the hold to release."""
    return ReleaseHold(hold_id=UUID(request.hold_id), caused_by=cause(for_job=True))


def place_response(held: Held) -> pb.PlaceHoldResponse:
    """Return the response to a placed hold."""
    return pb.PlaceHoldResponse(hold=hold_message(held.hold), wallet=_wallet(held), replayed=held.replayed)


def release_response(held: Held) -> pb.ReleaseHoldResponse:
    """Return the response to a released hold."""
    return pb.ReleaseHoldResponse(hold=hold_message(held.hold), wallet=_wallet(held), replayed=held.replayed)


def place_result(decision: Held | DomainError) -> pb.BatchPlaceHoldsResult:
    """Return the result of one placed hold of a batch."""
    if isinstance(decision, DomainError):
        return pb.BatchPlaceHoldsResult(error=to_status(decision))
    return pb.BatchPlaceHoldsResult(response=place_response(decision))


def release_result(decision: Held | DomainError) -> pb.BatchReleaseHoldsResult:
    """Return the result of one released hold of a batch."""
    if isinstance(decision, DomainError):
        return pb.BatchReleaseHoldsResult(error=to_status(decision))
    return pb.BatchReleaseHoldsResult(response=release_response(decision))


def _wallet(held: Held) -> wallet_pb2.Wallet | None:
    return None if held.wallet is None else wallet_message(held.wallet)
