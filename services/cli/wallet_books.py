"""`innosystem wallets holds`, `refund` and `verify`."""

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from services.cli.connect import platform
from services.cli.errors import CommandError
from services.cli.listing import collect
from services.cli.money import Amount, Cents, Money
from services.cli.options import Filter, Json, Limit, OrderBy
from services.cli.output import cell, print_json, print_message, print_messages, print_pairs

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
    as_json: Json = False,
) -> None:
    """Give a charge back, whole or in part.

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
    from innosystem.client import new_id
    from innosystem.wallets.v1.wallet_service_pb2 import RefundRequest

    if bool(transaction_id) == bool(job_id):
        raise CommandError("name the charge by --transaction-id or by --job-id")
    cents = amount.cents if amount else amount_cents
    # In the request 0 means all that is left. On the command line that is a word, and 0 a mistake.
    if [amount is not None, amount_cents is not None, everything].count(True) != 1 or cents == 0:
        raise CommandError("say how much once: --amount 7.50EUR, or --amount-cents 750, or --all that is left")
    if not idempotency_key:
        idempotency_key = f"cli:{new_id()}"
        # Before the call: whoever gets no answer repeats the command with this key, and refunds no second time.
        sys.stderr.write(f"--idempotency-key {idempotency_key}\n")
    request = RefundRequest(amount_cents=cents or 0, idempotency_key=idempotency_key, description=description)
    if job_id:
        request.job_id = job_id
    else:
        request.transaction_id = transaction_id
    async with platform() as client:
        if amount is not None:
            await _check_currency(client, request, amount)
        response = await client.wallets.Refund(request)
    if as_json:
        print_json(response)
        return
    print_message(response.transaction, as_json=False)
    print(f"\nThe balance is {cell(response.wallet, 'current_balance_cents')}.")
    if response.replayed:
        print("Nothing was given back now: this key was used before, for the transaction above.")


async def _check_currency(client: "Innosystem", request: "RefundRequest", amount: Money) -> None:
    """Refund in no other currency than the one of the charge, in which the request is understood."""
    from innosystem.jobs.v1.job_service_pb2 import GetJobRequest
    from innosystem.wallets.v1.wallet_service_pb2 import GetTransactionRequest

    if request.job_id:
        currency = (await client.jobs.GetJob(GetJobRequest(job_id=request.job_id))).job.currency
    else:
        wanted = GetTransactionRequest(transaction_id=request.transaction_id)
        currency = (await client.wallets.GetTransaction(wanted)).transaction.currency
    if currency != amount.currency:
        raise CommandError(f"the charge is in {currency}, and --amount in {amount.currency}: nothing was given back")


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
