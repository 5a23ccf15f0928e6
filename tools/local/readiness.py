"""Readiness of a service, by the standard health service."""

import asyncio

from innosystem.shared.transport import Transport


async def until_serving(address: str, transport: Transport, *, seconds_max: float) -> None:
    """Wait until a service reports SERVING: it listens before it has checked its dependencies.

    Args:
        address: The address of the service.
        transport: How the connection is protected.
        seconds_max: How long to wait.

    Raises:
        TimeoutError: The service does not report SERVING in time.
        grpc.RpcError: The service has ended.
    """
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
    from grpc_health.v1.health_pb2_grpc import HealthStub

    from innosystem.client import NO_TOKEN, connect

    async with asyncio.timeout(seconds_max), connect(address, token=NO_TOKEN, transport=transport) as channel:
        updates = HealthStub(channel).Watch(HealthCheckRequest())  # type: ignore[attr-defined] # not in the type stubs
        async for response in updates:
            if response.status == HealthCheckResponse.SERVING:
                return
