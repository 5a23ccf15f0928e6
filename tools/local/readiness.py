"""Readiness of a service, by the standard health service."""

import asyncio


async def until_serving(address: str, *, seconds_max: float) -> None:
    """Wait until a service reports SERVING: it listens before it has checked its dependencies.

    Args:
        address: The address of the service.
        seconds_max: How long to wait.

    Raises:
        TimeoutError: The service does not report SERVING in time.
        grpc.RpcError: The service has ended.
    """
    from grpc import aio
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
    from grpc_health.v1.health_pb2_grpc import HealthStub

    async with asyncio.timeout(seconds_max), aio.insecure_channel(address) as channel:
        updates = HealthStub(channel).Watch(HealthCheckRequest())  # type: ignore[attr-defined] # not in the type stubs
        async for response in updates:
            if response.status == HealthCheckResponse.SERVING:
                return
