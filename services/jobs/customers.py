"""Asks the customers service, over gRPC."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

import grpc
import structlog

from innosystem.customers.v1.customer_service_pb2 import GetCustomerRequest
from services.kit.errors import DependencyUnavailable, DomainError

log = structlog.get_logger(__name__)

_CONCURRENT_MAX = 64


class GrpcCustomers:
    """CustomerService as the use cases see it. The channel sets the deadline and repeats calls that are safe to repeat.

    Args:
        stub: A stub of CustomerService.
    """

    def __init__(self, stub: Any) -> None:
        self._stub = stub
        self._free = asyncio.Semaphore(_CONCURRENT_MAX)

    async def active(self, customer_ids: Collection[UUID]) -> Mapping[UUID, bool | DomainError]:
        """Asks for each of them, many at a time."""
        answers = await asyncio.gather(*(self._is_active(one) for one in customer_ids))
        return {
            customer_id: answer for customer_id, answer in zip(customer_ids, answers, strict=True) if answer is not None
        }

    async def _is_active(self, customer_id: UUID) -> bool | DomainError | None:
        request = GetCustomerRequest(customer_id=str(customer_id))
        try:
            async with self._free:
                response = await self._stub.GetCustomer(request)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            log.warning("customers service failed", code=error.code().name, problem=error.details())
            return DependencyUnavailable("customers")
        return bool(response.customer.active)
