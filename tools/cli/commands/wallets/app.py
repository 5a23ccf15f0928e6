"""`innosystem wallets`."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter, validators

from tools.cli.commands.wallets.holds import holds
from tools.cli.commands.wallets.refund import refund
from tools.cli.commands.wallets.verify import verify
from tools.cli.confirmation import DryRun, Yes, confirmed
from tools.cli.connect import platform
from tools.cli.listing import collect
from tools.cli.money import WHOLE, Amount, Cents, CurrencyCode, amount_of, new_idempotency_key
from tools.cli.options import Filter, Json, Limit, OrderBy
from tools.cli.output import cell, print_json, print_message, print_messages
from tools.errors import CommandError

if TYPE_CHECKING:
    from innosystem.wallets.v1.wallet_service_pb2 import GetWalletRequest

app = App(name="wallets", help="List, show, create, credit, refund or verify wallets.")
app.command(holds)
app.command(refund)
app.command(verify)

_COLUMNS = ("id", "customer_id", "current_balance_cents", "pending_charges_cents", "available_cents")
_TRANSACTION_COLUMNS = (
    "sequence",
    "kind",
    "amount_cents",
    "balance_after_cents",
    "job_id",
    "idempotency_key",
    "description",
    "created_at",
)


@app.command(name="list")
async def list_wallets(
    *,
    filter: Filter = "",
    order_by: OrderBy = "",
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List wallets, the newest first."""
    from innosystem.wallets.v1.wallet_service_pb2 import ListWalletsRequest

    request = ListWalletsRequest(filter=filter, order_by=order_by)
    async with platform() as client:
        found = await collect(client.wallets.ListWallets, request, "wallets", limit)
    print_messages(found, _COLUMNS, as_json=as_json, nothing="No wallets found.")


@app.command
async def show(
    wallet_id: Annotated[str, Parameter(name="ID", show_default=False)] = "",
    /,
    *,
    customer_id: Annotated[str, Parameter(show_default=False)] = "",
    currency: str = "EUR",
    transactions: Annotated[int, WHOLE, Parameter(validator=validators.Number(gte=0))] = 10,
    as_json: Json = False,
) -> None:
    """Show a wallet and its last transactions.

    Args:
        wallet_id: The wallet's UUID; or name its customer.
        customer_id: The UUID of its owner.
        currency: The currency of the owner's wallet.
        transactions: How many transactions to show at most.
    """
    from innosystem.wallets.v1.wallet_service_pb2 import ListTransactionsRequest

    wanted = _wanted(wallet_id, customer_id, currency)
    async with platform() as client:
        wallet = (await client.wallets.GetWallet(wanted)).wallet
        statement = ListTransactionsRequest(wallet_id=wallet.id)
        lines = await collect(client.wallets.ListTransactions, statement, "transactions", transactions)
    if as_json:
        print_json({"wallet": wallet, "transactions": lines})
        return
    print_message(wallet, as_json=False)
    if transactions:
        print()
        print_messages(lines, _TRANSACTION_COLUMNS, as_json=False, nothing="No transactions yet.")


@app.command
async def create(*, customer_id: str, currency: str = "EUR", wallet_id: str = "", as_json: Json = False) -> None:
    """Create an empty wallet.

    Args:
        customer_id: The UUID of its owner.
        currency: Its currency, an ISO 4217 code. A customer has at most one wallet in each.
        wallet_id: Its UUID; by default a new one. Repeating the call changes nothing.
    """
    from innosystem.wallets.v1.wallet_service_pb2 import CreateWalletRequest

    request = CreateWalletRequest(wallet_id=wallet_id, customer_id=customer_id, currency=currency)
    async with platform() as client:
        response = await client.wallets.CreateWallet(request)
    print_message(response.wallet, as_json=as_json)


@app.command
async def credit(
    *,
    customer_id: str,
    amount: Amount = None,
    amount_cents: Cents = None,
    currency: CurrencyCode = None,
    idempotency_key: Annotated[str, Parameter(show_default=False)] = "",
    description: str = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Pay money into a wallet.

    The money belongs to the customer afterwards, so nothing is changed without your confirmation.

    Args:
        customer_id: The UUID of its owner.
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
    plan = f"{money(paid.cents, paid.currency)} is paid into the wallet of customer {customer_id}."
    if not confirmed([plan], yes=yes, dry_run=dry_run):
        return
    request = CreditRequest(
        customer_id=customer_id,
        currency=paid.currency,
        amount_cents=paid.cents,
        idempotency_key=idempotency_key or new_idempotency_key(),
        description=description,
    )
    async with platform() as client:
        response = await client.wallets.Credit(request)
    if as_json:
        print_json(response)
        return
    print_message(response.transaction, as_json=False)
    print(f"\nThe balance is {cell(response.wallet, 'current_balance_cents')}.")
    if response.replayed:
        print("Nothing was paid in now: this key was used before, for the transaction above.")


def _wanted(wallet_id: str, customer_id: str, currency: str) -> "GetWalletRequest":
    from innosystem.wallets.v1.wallet_service_pb2 import GetWalletRequest, WalletOwner

    if bool(wallet_id) == bool(customer_id):
        raise CommandError("name the wallet by its ID, or by --customer-id and --currency")
    if wallet_id:
        return GetWalletRequest(wallet_id=wallet_id)
    return GetWalletRequest(owner=WalletOwner(customer_id=customer_id, currency=currency))
