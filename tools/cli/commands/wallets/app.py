"""`innosystem wallets`."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter, validators

from tools.cli.commands.wallets.charges import credit, deduct
from tools.cli.commands.wallets.columns import TRANSACTIONS, wallet_columns
from tools.cli.commands.wallets.holds import holds, place_hold, release_hold, show_hold
from tools.cli.commands.wallets.naming import CustomerId, OwnerCurrency, OwnerId, WalletId, named_wallet
from tools.cli.commands.wallets.refund import refund
from tools.cli.commands.wallets.statement import show_transaction, statement, transaction_filter
from tools.cli.commands.wallets.verify import verify
from tools.cli.connect import platform
from tools.cli.ids import CUSTOMER, whole_id
from tools.cli.listing import collect
from tools.cli.money import WHOLE
from tools.cli.names import customer_names
from tools.cli.options import Limit, OrderBy, filter_such_as
from tools.cli.output import NOTHING, TABLE, Output, pairs_of, print_document, print_list, print_one, print_pairs
from tools.cli.times import PastTime
from tools.errors import CommandError

if TYPE_CHECKING:
    from innosystem.client import Innosystem

app = App(
    name="wallets", help="List, show, create, credit, charge, refund or verify wallets; show statements and holds."
)
for _command in (
    statement,
    show_transaction,
    credit,
    deduct,
    refund,
    holds,
    show_hold,
    place_hold,
    release_hold,
    verify,
):
    app.command(_command)


@app.command(name="list")
async def list_wallets(
    *,
    filter: Annotated[str, filter_such_as("currency = EUR AND current_balance_cents < 100")] = "",
    order_by: OrderBy = "",
    limit: Limit = 50,
    output: Output = TABLE,
) -> None:
    """List wallets, the newest first."""
    from innosystem.wallets.v1.wallet_service_pb2 import ListWalletsRequest

    request = ListWalletsRequest(filter=filter, order_by=order_by)
    async with platform() as client:
        found = await collect(client.wallets.ListWallets, request, "wallets", limit)
        columns = wallet_columns(await customer_names(client, {wallet.customer_id for wallet in found}))
    print_list(found, columns, output, nothing="No wallets found.")


@app.command
async def show(
    wallet_id: WalletId = "",
    /,
    *,
    customer_id: CustomerId = "",
    currency: OwnerCurrency = "EUR",
    at: PastTime = None,
    transactions: Annotated[int, WHOLE, Parameter(validator=validators.Number(gte=0))] = 10,
    output: Output = TABLE,
) -> None:
    """Show a wallet and its last transactions, now or at a past time.

    Args:
        at: The balance at this time: 2026-01-31T12:00:00Z, 2026-01-31 (its beginning in UTC), or how long ago: 24h, 7d.
        transactions: How many transactions to show at most.
    """
    from innosystem.wallets.v1.wallet_service_pb2 import GetWalletRequest, ListTransactionsRequest

    async with platform() as client:
        request = GetWalletRequest(**await named_wallet(client, wallet_id, customer_id, currency))
        if at is not None:
            request.at.FromDatetime(at)
        wallet = (await client.wallets.GetWallet(request)).wallet
        before = transaction_filter("", until=at + timedelta(microseconds=1)) if at else ""
        wanted = ListTransactionsRequest(wallet_id=wallet.id, filter=before)
        lines = await collect(client.wallets.ListTransactions, wanted, "transactions", transactions)
        names = await customer_names(client, [wallet.customer_id])
    if output.format in ("csv", "name"):
        print_one(wallet, wallet_columns(names), output)
        return
    if print_document({"wallet": wallet, "transactions": lines}, output):
        return
    pairs = pairs_of(wallet) | {"customer": names.get(wallet.customer_id, NOTHING)}
    if at is not None:
        # Reservations of the past are not recorded.
        pairs = {name: pairs[name] for name in ("id", "customer", "customer id", "currency", "current balance")}
    print_pairs(pairs)
    if transactions:
        print()
        print_list(lines, TRANSACTIONS, output, nothing="No transactions yet.")


@app.command
async def create(
    *,
    customer_id: OwnerId,
    currency: str = "EUR",
    wallet_id: Annotated[str, Parameter(show_default=False)] = "",
    unknown_customer: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    output: Output = TABLE,
) -> None:
    """Create an empty wallet.

    Args:
        currency: Its currency, an ISO 4217 code. A customer has at most one wallet in each.
        wallet_id: Its UUID; by default a new one. Repeating the call changes nothing.
        unknown_customer: Do not ask the customers service whether the customer exists.
    """
    from innosystem.wallets.v1.wallet_service_pb2 import CreateWalletRequest

    async with platform() as client:
        owner = await whole_id(client, CUSTOMER, customer_id)
        if not unknown_customer:
            await _check_customer(client, owner)
        request = CreateWalletRequest(wallet_id=wallet_id, customer_id=owner, currency=currency)
        response = await client.wallets.CreateWallet(request)
        names = await customer_names(client, [owner])
    print_one(response.wallet, wallet_columns(names), output)


async def _check_customer(client: "Innosystem", customer_id: str) -> None:
    """Check that a customer exists, which the ledger does not."""
    import grpc

    from innosystem.client import error_from
    from innosystem.customers.v1.customer_service_pb2 import GetCustomerRequest

    try:
        await client.customers.GetCustomer(GetCustomerRequest(customer_id=customer_id))
    except grpc.RpcError as error:
        known = error_from(error)
        if known is None or known.reason != "CUSTOMER_NOT_FOUND":
            raise
        raise CommandError(
            f"no customer has the ID {customer_id}: nothing was created. `innosystem customers list` shows them; "
            "--unknown-customer creates the wallet nevertheless"
        ) from None
