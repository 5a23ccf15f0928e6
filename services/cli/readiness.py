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
        async for response in HealthStub(channel).Watch(HealthCheckRequest()):
            if response.status == HealthCheckResponse.SERVING:
                return
