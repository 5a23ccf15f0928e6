"""Waits until a service says by the standard health service that it can do its work."""

import asyncio


async def until_serving(address: str, *, seconds_max: float) -> None:
    """Waits for SERVING: a service listens before it has looked at what it depends on.

    Args:
        address: Where the service listens.
        seconds_max: How long to wait.

    Raises:
        TimeoutError: It does not say so in time.
        grpc.RpcError: It has gone.
    """
    from grpc import aio
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
    from grpc_health.v1.health_pb2_grpc import HealthStub

    async with asyncio.timeout(seconds_max), aio.insecure_channel(address) as channel:
        updates = HealthStub(channel).Watch(HealthCheckRequest())  # type: ignore[attr-defined] # not in the type stubs
        async for response in updates:
            if response.status == HealthCheckResponse.SERVING:
                return
