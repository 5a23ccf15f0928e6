"""Deduct: who may charge what, and the receipts."""

from collections.abc import Callable

from innosystem.wallets.v1 import wallet_service_pb2 as pb
from services.kit.auth.principal import Principal, principal
from services.kit.charges.vouchers import Charge, Vouchers
from services.kit.errors import DomainError
from services.kit.fast_dataclasses import changed
from services.kit.rpc.status import to_status
from services.wallets.rpc import convert
from services.wallets.rules.errors import ChargeNotAuthorised
from services.wallets.rules.ledger import Accepted
from services.wallets.rules.requests import Deduct


class ChargeCalls:
    """Conversions of charges, whose requests carry charge tokens and whose responses carry receipts.

    Args:
        vouchers: Reads charge tokens and makes receipts.
    """

    def __init__(self, vouchers: Vouchers) -> None:
        self._vouchers = vouchers

    def parser(self) -> Callable[[pb.DeductRequest], Deduct]:
        """Return the parser of the requests of the call that is being served, in its task.

        It raises `ChargeNotAuthorised` for a charge that the caller may not make, before anything is read or written.
        """
        caller = principal.get()
        return lambda request: self._vouched(convert.deduct(request), request.charge_token, caller)

    def response(self, accepted: Accepted) -> pb.DeductResponse:
        """Return the response to a deduction, with a receipt if it charged a job."""
        charge = accepted.transaction
        receipt = b""
        if charge.job_id is not None:
            receipt = self._vouchers.receipt(charge.id, charge.job_id, -charge.amount_cents)
        return convert.deduct_response(accepted, receipt)

    def result(self, decision: Accepted | DomainError) -> pb.BatchDeductResult:
        """Return the result of one deduction of a batch."""
        if isinstance(decision, DomainError):
            return pb.BatchDeductResult(error=to_status(decision))
        return pb.BatchDeductResult(response=self.response(decision))

    def _vouched(self, charge: Deduct, token: bytes, caller: Principal) -> Deduct:
        """Return a charge with the ID of the key by which the jobs service vouches for it, if it has to."""
        if not self._vouchers.must_prove(caller, token):
            return charge
        if charge.job_id is None:
            raise ChargeNotAuthorised
        customer_id, currency = charge.owner
        authorised = Charge(charge.job_id, customer_id, currency, charge.amount_cents, charge.hold_id)
        key_id = self._vouchers.authorising_key(authorised, token)
        if key_id is None:
            raise ChargeNotAuthorised
        return changed(charge, vouched_by=key_id)
