"""`innosystem wallets credit` and `deduct`."""

from typing import Annotated

from cyclopts import Parameter

from tools.cli.commands.wallets.columns import print_moved
from tools.cli.commands.wallets.naming import CustomerId, WalletId, paid_wallet
from tools.cli.confirmation import DryRun, Yes, confirmed
from tools.cli.connect import platform
from tools.cli.money import Amount, Cents, CurrencyCode, amount_of, new_idempotency_key
from tools.cli.output import TABLE, Output, cell
from tools.errors import UsageError


async def credit(
    wallet_id: WalletId = "",
    /,
    *,
    customer_id: CustomerId = "",
    amount: Amount = None,
    amount_cents: Cents = None,
    currency: CurrencyCode = None,
    idempotency_key: Annotated[str, Parameter(show_default=False)] = "",
    description: Annotated[str, Parameter(show_default=False)] = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = TABLE,
) -> None:
    """Pay money into a wallet.

    The money belongs to the customer afterwards, so nothing is changed without your confirmation.

    Args:
        amount: The amount with the currency of the wallet, such as 7.50EUR or 500JPY.
        amount_cents: The amount in the currency's minor unit, a whole number: 750.
        currency: The currency of --amount-cents; by default EUR.
        idempotency_key: Repeated commands with the same key pay in once. By default a new key, which is printed before
            the money is moved.
        description: A note for the statement.
    """
    from innosystem.wallets.v1.wallet_service_pb2 import CreditRequest
    from services.kit.currencies import money

    paid = amount_of("--amount", amount, amount_cents, currency)
    async with platform() as client:
        wallet = await paid_wallet(client, wallet_id, customer_id, paid)
        owner = wallet.customer_id
        plan = [
            f"{money(paid.cents, paid.currency)} is paid into the wallet of customer {owner}.",
            f"Its balance is {cell(wallet, 'current_balance_cents')} now.",
        ]
        if not confirmed(plan, yes=yes, dry_run=dry_run):
            return
        request = CreditRequest(
            customer_id=owner,
            currency=paid.currency,
            amount_cents=paid.cents,
            idempotency_key=idempotency_key or new_idempotency_key(),
            description=description,
        )
        response = await client.wallets.Credit(request)
    print_moved(response, output, "Nothing was paid in now: this key was used before, for the transaction above.")


async def deduct(
    wallet_id: WalletId = "",
    /,
    *,
    customer_id: CustomerId = "",
    amount: Amount = None,
    amount_cents: Cents = None,
    currency: CurrencyCode = None,
    job_id: Annotated[str, Parameter(show_default=False)] = "",
    hold_id: Annotated[str, Parameter(show_default=False)] = "",
    idempotency_key: Annotated[str, Parameter(show_default=False)] = "",
    description: Annotated[str, Parameter(show_default=False)] = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = TABLE,
) -> None:
    """Charge a wallet, for something other than a job, or for a job that was not charged.

    Jobs are charged by themselves, and `innosystem verify --repair` makes charges that are missing. A charge stays on
    the statement even if it is refunded, so nothing is changed without your confirmation.

    Args:
        amount: The amount with the currency of the wallet, such as 7.50EUR or 500JPY.
        amount_cents: The amount in the currency's minor unit, a whole number: 750.
        currency: The currency of --amount-cents; by default EUR.
        job_id: The UUID of the job that is charged. A job is charged only once.
        hold_id: The UUID of the hold with the job's money, which is taken first.
        idempotency_key: Repeated commands with the same key charge once. By default a new key, which is printed before
            the money is moved; for a job always the job's own.
        description: A note for the statement.
    """
    from innosystem.wallets.v1.wallet_service_pb2 import DeductRequest
    from services.kit.currencies import money

    if job_id and idempotency_key:
        raise UsageError("a job has an idempotency key of its own: leave --idempotency-key out")
    charged = amount_of("--amount", amount, amount_cents, currency)
    reason = f" for job {job_id}" if job_id else ""
    async with platform() as client:
        wallet = await paid_wallet(client, wallet_id, customer_id, charged)
        owner = wallet.customer_id
        plan = [
            f"{money(charged.cents, charged.currency)} is taken from the wallet of customer {owner}{reason}.",
            f"Its balance is {cell(wallet, 'current_balance_cents')} now.",
        ]
        if not confirmed(plan, yes=yes, dry_run=dry_run):
            return
        request = DeductRequest(
            customer_id=owner,
            currency=charged.currency,
            amount_cents=charged.cents,
            idempotency_key=f"job:{job_id}" if job_id else idempotency_key or new_idempotency_key(),
            hold_id=hold_id,
            job_id=job_id,
            description=description,
        )
        response = await client.wallets.Deduct(request)
    print_moved(response, output, "Nothing was charged now: this was charged before, by the transaction above.")
