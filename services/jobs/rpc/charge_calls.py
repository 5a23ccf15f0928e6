"""The charges that CompleteJobs authorises, and what SettleJobs believes of them."""

from collections.abc import Callable
from uuid import UUID

from innosystem.jobs.v1 import job_service_pb2 as pb
from services.jobs.rpc import convert
from services.jobs.rules.entities import Charge
from services.jobs.rules.errors import SettlementNotAuthorised
from services.jobs.rules.transitions.completion import Charged, Declined, Settlement
from services.jobs.usecases.run import Recorded
from services.kit.auth.principal import Kind, Principal, principal
from services.kit.charges import vouchers
from services.kit.errors import DomainError


class ChargeCalls:
    """Conversions of charges, which leave with charge tokens, and of settlements, which come with proofs.

    Args:
        made: Makes charge tokens and reads receipts.
    """

    def __init__(self, made: vouchers.Vouchers) -> None:
        self._vouchers = made

    def completion_results(self) -> Callable[[Recorded | DomainError], pb.JobCompletionResult]:
        """Return the conversion of the results of one call; the charges in them are authorised from now on."""
        charge_token = self._vouchers.charge_tokens()
        return lambda result: convert.completion_result(result, lambda charge: charge_token(_named(charge)))

    def settlement_parser(self) -> Callable[[pb.JobSettlement], Settlement]:
        """Return the parser of the settlements of the call that is being served, in its task.

        It raises `SettlementNotAuthorised` for a settlement that has to be proven and is not.
        """
        caller = principal.get()
        return lambda message: self._settlement(message, caller)

    def _settlement(self, message: pb.JobSettlement, caller: Principal) -> Settlement:
        job_id = UUID(message.job_id)
        if message.HasField("transaction"):
            return self._charged(job_id, message.transaction, caller)
        return self._declined(job_id, message.declined, caller)

    def _charged(self, job_id: UUID, message: pb.ChargeTransaction, caller: Principal) -> Charged:
        transaction_id = UUID(message.id)
        if not self._vouchers.must_prove(caller, message.receipt):
            return Charged(job_id, transaction_id)
        amount_cents = self._vouchers.amount_charged(message.receipt, transaction_id, job_id)
        if amount_cents is None:
            raise SettlementNotAuthorised
        return Charged(job_id, transaction_id, amount_cents)

    def _declined(self, job_id: UUID, message: pb.ChargeDeclined, caller: Principal) -> Declined:
        must_prove = self._vouchers.must_prove(caller, message.charge_token)
        if must_prove and not self._vouchers.authorises_charge_of(job_id, message.charge_token):
            raise SettlementNotAuthorised
        # The token shows who speaks, and not that it is true.
        return Declined(job_id, message.reason, is_hearsay=caller.kind is Kind.RUNNER)


def _named(charge: Charge) -> vouchers.Charge:
    return vouchers.Charge(charge.job_id, charge.customer_id, charge.currency, charge.amount_cents, charge.hold_id)
