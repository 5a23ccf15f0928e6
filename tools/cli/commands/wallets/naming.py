"""Wallets by their UUIDs, or by their customer and currency."""

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import Parameter

from tools.cli.ids import CUSTOMER, WALLET, whole_id
from tools.cli.money import Money
from tools.errors import CommandError, UsageError

if TYPE_CHECKING:
    from innosystem.client import Innosystem
    from innosystem.wallets.v1.wallet_pb2 import Wallet

WalletId: TypeAlias = Annotated[
    str, Parameter(name="ID", show_default=False, help="The wallet's UUID or its unique start; or name its customer.")
]
CustomerId: TypeAlias = Annotated[
    str, Parameter(show_default=False, help="Its owner: the email address, or UUID or its unique start.")
]
OwnerId: TypeAlias = Annotated[
    str, Parameter(help="The wallet's owner: the email address, or UUID or its unique start.")
]
OwnerCurrency: TypeAlias = Annotated[str, Parameter(help="The currency of the owner's wallet.")]


async def named_wallet(client: "Innosystem", wallet_id: str, customer_id: str, currency: str) -> dict[str, Any]:
    """Return the field of a request that names a wallet: `wallet_id` or `owner`.

    Args:
        client: The platform.
        wallet_id: The wallet's UUID or its start, or empty.
        customer_id: The email address or UUID of its owner or its start, or empty.
        currency: The currency of the owner's wallet.

    Raises:
        UsageError: The wallet is named in both ways, or in none.
    """
    from innosystem.wallets.v1.wallet_service_pb2 import WalletOwner

    if bool(wallet_id) == bool(customer_id):
        raise UsageError("name the wallet by its ID, or by --customer-id and --currency")
    if wallet_id:
        return {"wallet_id": await whole_id(client, WALLET, wallet_id)}
    owner = await whole_id(client, CUSTOMER, customer_id)
    return {"owner": WalletOwner(customer_id=owner, currency=currency)}


async def paid_wallet(client: "Innosystem", wallet_id: str, customer_id: str, paid: Money) -> "Wallet":
    """Return the wallet into or from which an amount is to be paid.

    Args:
        client: The platform.
        wallet_id: The wallet's UUID or its start, or empty.
        customer_id: The UUID of its owner or its start, or empty.
        paid: The amount.

    Raises:
        CommandError: The wallet is named in both ways or in none, or has another currency than the amount.
    """
    from innosystem.wallets.v1.wallet_service_pb2 import GetWalletRequest

    named = await named_wallet(client, wallet_id, customer_id, paid.currency)
    wallet = (await client.wallets.GetWallet(GetWalletRequest(**named))).wallet
    if wallet.currency != paid.currency:
        raise CommandError(
            f"the wallet {wallet.id} is in {wallet.currency}, and the amount in {paid.currency}: nothing was done"
        )
    return wallet
