"""`innosystem wallets holds`."""

from tools.cli.connect import platform
from tools.cli.listing import collect
from tools.cli.options import Filter, Json, Limit, OrderBy
from tools.cli.output import print_messages

_COLUMNS = ("id", "wallet_id", "job_id", "amount_cents", "state", "created_at", "resolved_at")


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
    print_messages(found, _COLUMNS, as_json=as_json, nothing="No holds found.")
