"""`innosystem wallets holds`, `refund` and `verify`."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tools.cli.confirmation import DryRun, Yes, confirmed
from tools.cli.connect import platform
from tools.cli.listing import collect
from tools.cli.money import Amount, Cents, told_key
from tools.cli.options import Filter, Json, Limit, OrderBy
from tools.cli.output import cell, print_json, print_message, print_messages, print_pairs
from tools.errors import CommandError

if TYPE_CHECKING:
    from innosystem.client import Innosystem
    from innosystem.wallets.v1.wallet_service_pb2 import RefundRequest, VerifyLedgerResponse

_HOLD_COLUMNS = ("id", "wallet_id", "job_id", "amount_cents", "state", "created_at", "resolved_at")
_SUMS = (
    "wallets",
    "transactions",
    "active_holds",
    "sequence_gaps",
    "ledger_imbalance_cents",
    "pending_imbalance_cents",
    "offender_count",
)


async def holds(
    *,
    filter: Filter = "",
    order_by: OrderBy = "",
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List holds, the newest first."""
    from innosystem.wallets.v1.wallet_service_pb2 import ListHoldsRequest

    request = ListHoldsRequest(filter=filter, order_by=order_by)
    async with platform() as client:
        found = await collect(client.wallets.ListHolds, request, "holds", limit)
    print_messages(found, _HOLD_COLUMNS, as_json=as_json, nothing="No holds found.")


async def refund(
    *,
    transaction_id: Annotated[str, Parameter(show_default=False)] = "",
    job_id: Annotated[str, Parameter(show_default=False)] = "",
    amount: Amount = None,
    amount_cents: Cents = None,
    everything: Annotated[bool, Parameter(name="--all", negative="", show_default=False)] = False,
    idempotency_key: Annotated[str, Parameter(show_default=False)] = "",
    description: str = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Give a charge back, whole or in part.

    It can't be taken back, so nothing is done before you have agreed.

    Args:
        transaction_id: The UUID of the deduction. Give it, or the job.
        job_id: The job that was charged.
        amount: What to give back, with the currency of the charge, such as 7.50EUR or 500JPY.
        amount_cents: The same in the currency's minor unit, a whole number: 750.
        everything: Give back all that is left of the charge.
        idempotency_key: Refunds once, however often the command is given with the same key. By default a new one,
            which is printed before the money is moved.
        description: A note for the statement.
    """
    from innosystem.wallets.v1.wallet_service_pb2 import RefundRequest
    from services.kit.currencies import money

    if bool(transaction_id) == bool(job_id):
        raise CommandError("name the charge by --transaction-id or by --job-id")
    cents = amount.cents if amount else amount_cents
    # In the request 0 means all that is left. On the command line that is a word, and 0 a mistake.
    if [amount is not None, amount_cents is not None, everything].count(True) != 1 or cents == 0:
        raise CommandError("say how much once: --amount 7.50EUR, or --amount-cents 750, or --all that is left")
    request = RefundRequest(amount_cents=cents or 0, description=description)
    if job_id:
        request.job_id = job_id
    else:
        request.transaction_id = transaction_id
    async with platform() as client:
        charge, currency = await _charge(client, request)
        if amount is not None and amount.currency != currency:
            raise CommandError(
                f"the charge is in {currency or 'a currency that is not known'}, and --amount in {amount.currency}: "
                "nothing was given back"
            )
        units = money(cents, currency) if cents and currency else f"{cents} in minor units"
        given = units if cents else "All that is left"
        if not confirmed([f"{given} of {charge} is given back."], yes=yes, dry_run=dry_run):
            return
        request.idempotency_key = idempotency_key or told_key()
        response = await client.wallets.Refund(request)
    if as_json:
        print_json(response)
        return
    print_message(response.transaction, as_json=False)
    print(f"\nThe balance is {cell(response.wallet, 'current_balance_cents')}.")
    if response.replayed:
        print("Nothing was given back now: this key was used before, for the transaction above.")


async def _charge(client: "Innosystem", request: "RefundRequest") -> tuple[str, str]:
    """Return what is to be refunded, in words, and its currency, in which the request is understood.

    A job that was deleted long ago, or never was there, may have been charged all the same: its currency is empty.
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
        return f"the charge of job {request.job_id}, which the jobs service does not know,", ""
    return f"the charge of job {job.id}, {cell(job, 'cost_cents')} of customer {job.customer_id},", job.currency


async def verify(*, as_json: Json = False) -> int:
    """Check that all books add up; the exit status is 1 if they do not."""
    from innosystem.wallets.v1.wallet_service_pb2 import VerifyLedgerRequest

    request = VerifyLedgerRequest()
    pages: list[VerifyLedgerResponse] = []
    async with platform() as client:
        while not pages or request.page_token:
            pages.append(await client.wallets.VerifyLedger(request))
            request.page_token = pages[-1].next_page_token
    sums = {name: sum(getattr(page, name) for page in pages) for name in _SUMS}
    offenders = [one for page in pages for one in page.offenders]
    ok = not sums["offender_count"]
    if as_json:
        print_json({**sums, "trial_balances": _trials(pages), "offenders": offenders, "ok": ok})
    else:
        print_pairs({name: str(value) for name, value in sums.items()})
        print_messages(offenders, ("wallet_id", "problem", "description"), as_json=False, nothing="All books add up.")
    return 0 if ok else 1


def _trials(pages: "list[VerifyLedgerResponse]") -> dict[str, Any]:
    trials: dict[str, Counter[str]] = {}
    for trial in (trial for page in pages for trial in page.trial_balances):
        sums = trials.setdefault(trial.currency, Counter())
        for descriptor in trial.DESCRIPTOR.fields:
            if descriptor.name != "currency":
                sums[descriptor.name] += getattr(trial, descriptor.name)
    return {currency: dict(sums) for currency, sums in sorted(trials.items())}
