"""A charge, and what was given back of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tools.cli.listing import collect
from tools.cli.names import customer_names
from tools.errors import CommandError

if TYPE_CHECKING:
    from innosystem.client import Innosystem
    from innosystem.wallets.v1.wallet_pb2 import Transaction
    from innosystem.wallets.v1.wallet_service_pb2 import RefundRequest, WalletOwner

_LINES_MAX: Final = 100_000


@dataclass(frozen=True)
class Charge:
    """A charge.

    Attributes:
        line: Its deduction.
        customer: Who paid, in words.
        refunds: What was refunded of it.
        written_off_cents: What was written off of it, which can't be refunded.
    """

    line: "Transaction"
    customer: str
    refunds: "Sequence[Transaction]"
    written_off_cents: int

    @property
    def left_cents(self) -> int:
        """The part that can be refunded."""
        return -self.line.amount_cents - self.refunded_cents - self.written_off_cents

    @property
    def refunded_cents(self) -> int:
        """The part that was refunded."""
        return sum(refund.amount_cents for refund in self.refunds)

    @property
    def before(self) -> str:
        """What was given back, in words."""
        if self.written_off_cents:
            return f"{self.money(self.written_off_cents)} was written off"
        return f"{self.money(self.refunded_cents) if self.refunds else 'nothing'} was refunded before"

    def refund_under(self, key: str) -> "Transaction | None":
        """Return the refund that was made under an idempotency key."""
        return next((refund for refund in self.refunds if key and refund.idempotency_key == key), None)

    def money(self, cents: int) -> str:
        """Return an amount in the units of the charge's currency."""
        from services.kit.currencies import money

        return money(cents, self.line.currency)

    def __str__(self) -> str:
        what = f"job {self.line.job_id}" if self.line.job_id else f"transaction {self.line.id}"
        return f"the {self.money(-self.line.amount_cents)} that {self.customer} paid for {what}"


async def find_charge(client: "Innosystem", request: "RefundRequest") -> Charge | None:
    """Return the charge that a refund names.

    Returns:
        The charge; None if only the wallets service can find it, by a job that is unknown to the jobs service because
        it was deleted long ago.

    Raises:
        CommandError: The job was not charged, or the transaction is no charge.
    """
    from innosystem.wallets.v1.wallet_pb2 import TRANSACTION_KIND_DEDUCTION
    from innosystem.wallets.v1.wallet_service_pb2 import (
        GetTransactionRequest,
        GetWalletRequest,
        ListTransactionsRequest,
    )

    if request.job_id:
        if (owner := await _payer(client, request.job_id)) is None:
            return None
        wanted = ListTransactionsRequest(owner=owner, filter=f'job_id = "{request.job_id}"', order_by="sequence")
        lines = await collect(client.wallets.ListTransactions, wanted, "transactions", _LINES_MAX, count=False)
        charges = [line for line in lines if line.kind == TRANSACTION_KIND_DEDUCTION]
        if not charges:
            raise CommandError(f"job {request.job_id} was not charged: nothing is refunded")
        charge, customer_id = charges[0], owner.customer_id
    else:
        named = GetTransactionRequest(transaction_id=request.transaction_id)
        charge = (await client.wallets.GetTransaction(named)).transaction
        if charge.kind != TRANSACTION_KIND_DEDUCTION:
            raise CommandError(f"transaction {charge.id} is no charge: nothing is refunded")
        since = charge.created_at.ToJsonString()
        only = f'job_id = "{charge.job_id}"' if charge.job_id else f'kind = REFUND AND created_at >= "{since}"'
        wanted = ListTransactionsRequest(wallet_id=charge.wallet_id, filter=only)
        lines = await collect(client.wallets.ListTransactions, wanted, "transactions", _LINES_MAX, count=False)
        wallet = (await client.wallets.GetWallet(GetWalletRequest(wallet_id=charge.wallet_id))).wallet
        customer_id = wallet.customer_id
    name = (await customer_names(client, [customer_id])).get(customer_id)
    return Charge(
        charge,
        f"{name} ({customer_id})" if name else f"customer {customer_id}",
        [line for line in lines if line.refunds_transaction_id == charge.id],
        sum(line.amount_cents for line in lines if line.idempotency_key == f"write-off:{charge.job_id}"),
    )


async def _payer(client: "Innosystem", job_id: str) -> "WalletOwner | None":
    from grpc import aio

    from innosystem.client import error_from
    from innosystem.jobs.v1.job_pb2 import JOB_VIEW_BASIC
    from innosystem.jobs.v1.job_service_pb2 import GetJobRequest
    from innosystem.wallets.v1.wallet_service_pb2 import WalletOwner

    try:
        job = (await client.jobs.GetJob(GetJobRequest(job_id=job_id, view=JOB_VIEW_BASIC))).job
    except aio.AioRpcError as error:
        known = error_from(error)
        if known is None or known.reason != "JOB_NOT_FOUND":
            raise
        return None
    return WalletOwner(customer_id=job.customer_id, currency=job.currency)
