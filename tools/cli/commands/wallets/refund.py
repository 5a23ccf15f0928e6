"""`innosystem wallets refund`."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tools.cli.commands.wallets.charged import Charge, find_charge
from tools.cli.commands.wallets.columns import print_moved
from tools.cli.confirmation import DryRun, Yes, confirmed
from tools.cli.connect import platform
from tools.cli.ids import JOB, whole_id
from tools.cli.money import Amount, Cents, new_idempotency_key
from tools.cli.output import TABLE, Output
from tools.errors import CommandError, UsageError

if TYPE_CHECKING:
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

    if bool(transaction_id) == bool(job_id):
        raise UsageError("name the charge by --transaction-id or by --job-id")
    cents = amount.cents if amount else amount_cents
    # In the request, 0 means the rest of the charge. On the command line that is --all, and 0 is a mistake.
    if [amount is not None, amount_cents is not None, everything].count(True) != 1 or cents == 0:
        raise UsageError("give the amount once: --amount 7.50EUR, or --amount-cents 750, or --all for the rest")
    request = RefundRequest(amount_cents=cents or 0, description=description, idempotency_key=idempotency_key)
    async with platform() as client:
        if job_id:
            request.job_id = await whole_id(client, JOB, job_id)
        else:
            request.transaction_id = transaction_id
        charge = await find_charge(client, request)
        if amount is not None and amount.currency != (currency := charge.line.currency if charge else ""):
            raise CommandError(
                f"the charge is in {currency or 'an unknown currency'}, and --amount in {amount.currency}: "
                "nothing was refunded"
            )
        if not confirmed([_plan(charge, request)], yes=yes, dry_run=dry_run):
            return
        request.idempotency_key = idempotency_key or new_idempotency_key()
        response = await client.wallets.Refund(request)
    print_moved(response, output, "Nothing was refunded now: this key was used before, for the transaction above.")


def _plan(charge: Charge | None, request: "RefundRequest") -> str:
    """Return the refund in words.

    Raises:
        CommandError: The service would refuse it.
    """
    cents = request.amount_cents
    if charge is None:
        given = f"{cents} in minor units" if cents else "The rest"
        return (
            f"{given} of the charge of job {request.job_id}, which is unknown to the jobs service, is refunded; "
            "how much is left of it is shown if it is named by --transaction-id."
        )
    if earlier := charge.refund_under(request.idempotency_key):
        return f"{charge.money(earlier.amount_cents)} was refunded under this key before: nothing is refunded now."
    before = charge.before
    if not charge.left_cents or cents > charge.left_cents:
        problem = f"{charge.money(cents)} is more than" if charge.left_cents else "nothing"
        raise CommandError(f"{problem} is left of {charge}: {before}. Nothing was refunded now")
    return f"{charge.money(cents or charge.left_cents)} is refunded of {charge}; {before}."
