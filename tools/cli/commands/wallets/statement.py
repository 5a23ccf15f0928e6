"""`innosystem wallets statement` and `show-transaction`."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from tools.cli.commands.wallets.columns import TRANSACTIONS
from tools.cli.commands.wallets.naming import CustomerId, OwnerCurrency, WalletId, named_wallet
from tools.cli.connect import platform
from tools.cli.ids import JOB, whole_id
from tools.cli.listing import collect
from tools.cli.options import ANY_CASE, Limit, filter_such_as
from tools.cli.output import TABLE, Output, print_list, print_one
from tools.cli.times import PastTime, created_between
from tools.errors import UsageError

if TYPE_CHECKING:
    from innosystem.client import Innosystem

KindName = Literal["CREDIT", "DEDUCTION", "REFUND", "ADJUSTMENT"]


async def statement(
    wallet_id: WalletId = "",
    /,
    *,
    customer_id: CustomerId = "",
    currency: OwnerCurrency = "EUR",
    job_id: Annotated[str, Parameter(show_default=False)] = "",
    kind: Annotated[KindName | None, ANY_CASE, Parameter(show_default=False)] = None,
    since: PastTime = None,
    until: PastTime = None,
    filter: Annotated[str, filter_such_as("kind = DEDUCTION AND amount_cents < -1000")] = "",
    order_by: Annotated[str, Parameter(show_default=False, help="`sequence` for the oldest first.")] = "",
    limit: Limit = 50,
    output: Output = TABLE,
) -> None:
    """List the transactions of a wallet, the newest first.

    With --job-id alone, the wallet is that of the job's customer.

    Args:
        job_id: Only transactions for this job: its charge, refunds and write-off.
        kind: Only transactions of this kind.
        since: Only transactions from this time on: 2026-01-31T12:00:00Z, 2026-01-31 (in UTC), or how long ago: 24h, 7d.
        until: Only transactions before this time.
    """
    from innosystem.wallets.v1.wallet_service_pb2 import ListTransactionsRequest

    async with platform() as client:
        if job_id:
            job_id = await whole_id(client, JOB, job_id)
        if job_id and not wallet_id and not customer_id:
            customer_id, currency = await _payer(client, job_id)
        if not wallet_id and not customer_id:
            raise UsageError("name the wallet by its ID, by --customer-id and --currency, or by --job-id")
        request = ListTransactionsRequest(
            **await named_wallet(client, wallet_id, customer_id, currency),
            filter=transaction_filter(filter, job_id=job_id, kind=kind or "", since=since, until=until),
            order_by=order_by,
        )
        found = await collect(client.wallets.ListTransactions, request, "transactions", limit)
    print_list(found, TRANSACTIONS, output, nothing="No transactions found.")


def transaction_filter(
    given: str, *, job_id: str = "", kind: str = "", since: datetime | None = None, until: datetime | None = None
) -> str:
    """Combine a filter of the user and options into one AIP-160 filter."""
    from json import dumps

    parts = [f"({given})"] if given.strip() else []
    parts += [f"job_id = {dumps(job_id)}"] if job_id else []
    parts += [f"kind = {kind}"] if kind else []
    return created_between(" AND ".join(parts), since, until)


async def _payer(client: "Innosystem", job_id: str) -> tuple[str, str]:
    from innosystem.jobs.v1.job_pb2 import JOB_VIEW_BASIC
    from innosystem.jobs.v1.job_service_pb2 import GetJobRequest

    job = (await client.jobs.GetJob(GetJobRequest(job_id=job_id, view=JOB_VIEW_BASIC))).job
    return job.customer_id, job.currency


async def show_transaction(transaction_id: Annotated[str, Parameter(name="ID")], /, *, output: Output = TABLE) -> None:
    """Show one transaction.

    Args:
        transaction_id: The transaction's UUID.
    """
    from innosystem.wallets.v1.wallet_service_pb2 import GetTransactionRequest

    async with platform() as client:
        response = await client.wallets.GetTransaction(GetTransactionRequest(transaction_id=transaction_id))
    print_one(response.transaction, TRANSACTIONS, output)
