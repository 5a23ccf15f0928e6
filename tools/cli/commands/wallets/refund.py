"""`innosystem wallets refund`."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tools.cli.commands.wallets.columns import print_moved
from tools.cli.confirmation import DryRun, Yes, confirmed
from tools.cli.connect import platform
from tools.cli.ids import JOB, whole_id
from tools.cli.money import Amount, Cents, new_idempotency_key
from tools.cli.output import TABLE, Output, cell
from tools.errors import CommandError

if TYPE_CHECKING:
    from innosystem.client import Innosystem
    from innosystem.wallets.v1.wallet_service_pb2 import RefundRequest


async def refund(
    *,
    transaction_id: Annotated[str, Parameter(show_default=False)] = "",
    job_id: Annotated[str, Parameter(show_default=False)] = "",
    amount: Amount = None,
    amount_cents: Cents = None,
    everything: Annotated[bool, Parameter(name="--all", negative="", show_default=False)] = False,
    idempotency_key: Annotated[str, Parameter(show_default=False)] = "",
    description: Annotated[str, Parameter(show_default=False)] = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = TABLE,
) -> None:
    """Refund a charge, whole or in part.

    A refund can't be undone, so nothing is changed without your confirmation.

    Args:
        transaction_id: The UUID of the deduction; or name its job.
        job_id: The UUID of the job that was charged, or its unique start.
        amount: The amount with the currency of the charge, such as 7.50EUR or 500JPY.
        amount_cents: The amount in the currency's minor unit, a whole number: 750.
        everything: Refund the rest of the charge.
        idempotency_key: Repeated commands with the same key refund once. By default a new key, which is printed before
            the money is moved.
        description: A note for the statement.
    """
    from innosystem.wallets.v1.wallet_service_pb2 import RefundRequest
    from services.kit.currencies import money

    if bool(transaction_id) == bool(job_id):
        raise CommandError("name the charge by --transaction-id or by --job-id")
    cents = amount.cents if amount else amount_cents
    # In the request, 0 means the rest of the charge. On the command line that is --all, and 0 is a mistake.
    if [amount is not None, amount_cents is not None, everything].count(True) != 1 or cents == 0:
        raise CommandError("give the amount once: --amount 7.50EUR, or --amount-cents 750, or --all for the rest")
    request = RefundRequest(amount_cents=cents or 0, description=description)
    async with platform() as client:
        if job_id:
            request.job_id = await whole_id(client, JOB, job_id)
        else:
            request.transaction_id = transaction_id
        charge, currency = await _charge(client, request)
        if amount is not None and amount.currency != currency:
            raise CommandError(
                f"the charge is in {currency or 'an unknown currency'}, and --amount in {amount.currency}: "
                "nothing was refunded"
            )
        units = money(cents, currency) if cents and currency else f"{cents} in minor units"
        given = units if cents else "The rest"
        if not confirmed([f"{given} of {charge} is refunded."], yes=yes, dry_run=dry_run):
            return
        request.idempotency_key = idempotency_key or new_idempotency_key()
        response = await client.wallets.Refund(request)
    print_moved(response, output, "Nothing was refunded now: this key was used before, for the transaction above.")


async def _charge(client: "Innosystem", request: "RefundRequest") -> tuple[str, str]:
    """Return the charge in words, and its currency, in which the request is interpreted.

    A job that is unknown, because it was deleted long ago, may have been charged nevertheless: its currency is empty.
    """
    from grpc import aio

    from innosystem.client import error_from
    from innosystem.jobs.v1.job_service_pb2 import GetJobRequest
    from innosystem.wallets.v1.wallet_service_pb2 import GetTransactionRequest

    if not request.job_id:
        wanted = GetTransactionRequest(transaction_id=request.transaction_id)
        line = (await client.wallets.GetTransaction(wanted)).transaction
        return f"transaction {line.id}, {cell(line, 'amount_cents')} of wallet {line.wallet_id},", line.currency
    try:
        job = (await client.jobs.GetJob(GetJobRequest(job_id=request.job_id))).job
    except aio.AioRpcError as error:
        known = error_from(error)
        if known is None or known.reason != "JOB_NOT_FOUND":
            raise
        return f"the charge of job {request.job_id}, which is unknown to the jobs service,", ""
    return f"the charge of job {job.id}, {cell(job, 'cost_cents')} of customer {job.customer_id},", job.currency
