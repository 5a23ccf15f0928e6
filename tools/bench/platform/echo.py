"""An echo in place of the wallets service, on the chassis of all services: `python -m tools.bench.platform.echo`.

The echo serves Deduct with the messages of the contract, so that it reads, checks and writes as many bytes as the real
service and checks its callers like it, and does nothing in between. With `bare` it serves without any layer around the
calls.
"""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from innosystem.wallets.v1 import wallet_service_pb2
from innosystem.wallets.v1.wallet_pb2 import TRANSACTION_KIND_DEDUCTION, Transaction, Wallet
from innosystem.wallets.v1.wallet_service_pb2 import DeductRequest, DeductResponse
from services.kit.auth.settings import authentication
from services.kit.auth.tenants import Tenants
from services.kit.rpc.for_tenants import for_tenants
from services.kit.rpc.serving.server import Served, Server, channel_options, serve, spare_the_collector
from services.kit.settings import ServerSettings

log = structlog.get_logger(__name__)

_ADDRESS = "127.0.0.1:0"
_SERVICE = wallet_service_pb2.DESCRIPTOR.services_by_name["WalletService"]
_ID = "01990000-0000-7000-8000-000000000000"


class Echo:
    """A wallets service without wallets, and with one method."""

    @for_tenants
    async def layered(self, request: DeductRequest, context: Any, tenants: Tenants) -> DeductResponse:
        """Return an invented deduction to a caller that the layers know."""
        return await self.bare(request, context)

    async def bare(self, request: DeductRequest, context: Any) -> DeductResponse:
        """Return an invented deduction, as large as a real one."""
        moment = Timestamp(seconds=1_800_000_000, nanos=123_456_000)
        transaction = Transaction(
            id=_ID,
            wallet_id=_ID,
            currency=request.currency,
            sequence=1,
            kind=TRANSACTION_KIND_DEDUCTION,
            amount_cents=-request.amount_cents,
            balance_after_cents=1_000_000,
            idempotency_key=request.idempotency_key,
            created_at=moment,
        )
        wallet = Wallet(
            id=_ID,
            customer_id=request.customer_id,
            currency=request.currency,
            current_balance_cents=1_000_000,
            available_cents=1_000_000,
            created_at=moment,
            updated_at=moment,
            etag="1",
        )
        return DeductResponse(transaction=transaction, wallet=wallet)


def _register(server: grpc.aio.Server, deduct: Callable[[DeductRequest, Any], Awaitable[DeductResponse]]) -> None:
    handler = grpc.unary_unary_rpc_method_handler(
        deduct,
        request_deserializer=DeductRequest.FromString,
        response_serializer=DeductResponse.SerializeToString,
    )
    server.add_registered_method_handlers(_SERVICE.full_name, {"Deduct": handler})


async def layered() -> None:
    """Serve with all layers, as the services do."""
    server = Server(
        settings=ServerSettings(listen_address=_ADDRESS),
        served=[Served(_SERVICE, lambda grpc_server: _register(grpc_server, Echo().layered))],
        authentication=authentication(),
        required={},
    )
    await server.run()


async def bare() -> None:
    """Serve without layers; everything else is as in the services."""
    server = grpc.aio.server(options=channel_options(ServerSettings(listen_address=_ADDRESS)))
    _register(server, Echo().bare)
    port = server.add_insecure_port(_ADDRESS)
    await server.start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    spare_the_collector()
    log.info("serving", address=f"127.0.0.1:{port}")
    await stopped.wait()
    await server.stop(None)


if __name__ == "__main__":
    serve("echo", bare if sys.argv[1:] == ["bare"] else layered)
