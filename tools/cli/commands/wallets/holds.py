"""`innosystem wallets holds`, `show-hold`, `place-hold` and `release-hold`."""

import sys
from typing import Annotated

from cyclopts import Parameter

from tools.cli.commands.wallets.columns import HOLDS
from tools.cli.commands.wallets.naming import OwnerId
from tools.cli.confirmation import DryRun, Yes, confirmed
from tools.cli.connect import platform
from tools.cli.ids import CUSTOMER, HOLD, JOB, whole_id
from tools.cli.listing import collect
from tools.cli.money import Amount, Cents, CurrencyCode, amount_of
from tools.cli.options import Limit, OrderBy, filter_such_as
from tools.cli.output import TABLE, Output, cell, print_list, print_one

HoldId = Annotated[str, Parameter(name="ID", help="The hold's UUID, or its unique start.")]


async def holds(
    *,
    filter: Annotated[str, filter_such_as("state = ACTIVE")] = "",
    order_by: OrderBy = "",
    limit: Limit = 50,
    output: Output = TABLE,
) -> None:
    """List holds, the newest first: money that is reserved for jobs."""
    from innosystem.wallets.v1.wallet_service_pb2 import ListHoldsRequest

    request = ListHoldsRequest(filter=filter, order_by=order_by)
    async with platform() as client:
        found = await collect(client.wallets.ListHolds, request, "holds", limit)
    print_list(found, HOLDS, output, nothing="No holds found.")


async def show_hold(hold_id: HoldId, /, *, output: Output = TABLE) -> None:
    """Show one hold."""
    from innosystem.wallets.v1.wallet_service_pb2 import GetHoldRequest

    async with platform() as client:
        response = await client.wallets.GetHold(GetHoldRequest(hold_id=await whole_id(client, HOLD, hold_id)))
    print_one(response.hold, HOLDS, output)


async def place_hold(
    *,
    customer_id: OwnerId,
    job_id: str,
    amount: Amount = None,
    amount_cents: Cents = None,
    currency: CurrencyCode = None,
    hold_id: Annotated[str, Parameter(show_default=False)] = "",
    output: Output = TABLE,
) -> None:
    """Reserve money for a job, so that its charge can't be declined.

    The jobs service places the holds of jobs itself, and releases holds for jobs that it does not know.

    Args:
        job_id: The UUID of the job that the money is reserved for.
        amount: The amount with the currency of the wallet, such as 7.50EUR or 500JPY.
        amount_cents: The amount in the currency's minor unit, a whole number: 750.
        currency: The currency of --amount-cents; by default EUR.
        hold_id: The UUID of the hold; by default a new one. Repeating the call changes nothing.
    """
    from innosystem.wallets.v1.wallet_service_pb2 import PlaceHoldRequest

    held = amount_of("--amount", amount, amount_cents, currency)
    async with platform() as client:
        request = PlaceHoldRequest(
            hold_id=hold_id,
            job_id=await whole_id(client, JOB, job_id),
            customer_id=await whole_id(client, CUSTOMER, customer_id),
            currency=held.currency,
            amount_cents=held.cents,
        )
        response = await client.wallets.PlaceHold(request)
    print_one(response.hold, HOLDS, output)
    sys.stderr.write(f"Available now: {cell(response.wallet, 'available_cents')}.\n")


async def release_hold(
    hold_id: HoldId, /, *, yes: Yes = False, dry_run: DryRun = False, output: Output = TABLE
) -> None:
    """Free the money that a hold reserves; the charge of its job may then be declined.

    A hold can't be placed again, so nothing is changed without your confirmation. Cancelling the job frees its money
    as well.
    """
    from innosystem.wallets.v1.wallet_service_pb2 import GetHoldRequest, ReleaseHoldRequest

    async with platform() as client:
        hold = (await client.wallets.GetHold(GetHoldRequest(hold_id=await whole_id(client, HOLD, hold_id)))).hold
        plan = [
            f"{cell(hold, 'amount_cents')} of customer {hold.customer_id}, reserved for job {hold.job_id}, is freed; "
            f"the hold is {cell(hold, 'state')} now."
        ]
        if not confirmed(plan, yes=yes, dry_run=dry_run):
            return
        response = await client.wallets.ReleaseHold(ReleaseHoldRequest(hold_id=hold.id))
    print_one(response.hold, HOLDS, output)
