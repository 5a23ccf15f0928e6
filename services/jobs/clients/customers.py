"""Asks the customers service, over gRPC."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import grpc
import structlog

from innosystem.client import error_from_status
from innosystem.customers.v1.customer_service_pb2 import BatchGetCustomersRequest, BatchGetCustomersResult
from services.jobs.usecases.ports import Customers
from services.kit.errors import DependencyUnavailable, DomainError
from services.kit.rpc.dependency import Dependency

log = structlog.get_logger(__name__)

_BATCH: Final = 1000
# Of the time of a call: an answer takes milliseconds, so the first attempt is short.
_SHARES: Final = (1 / 6, 1 / 3, 1 / 2)


class GrpcCustomers(Customers):
    """CustomerService as the use cases see it. The channel repeats calls that are safe to repeat.

    Args:
        stub: A stub of CustomerService.
        deadline_seconds: How long a call may take.
    """

    def __init__(self, stub: Any, deadline_seconds: float = 3.0) -> None:
        self._stub = stub
        self._customers = Dependency("customers")
        self._attempts = [share * deadline_seconds for share in _SHARES]

    async def active(self, customer_ids: Collection[UUID]) -> Mapping[UUID, bool | DomainError]:
        """Asks for all of them at once."""
        ids = list(customer_ids)
        answers: dict[UUID, bool | DomainError] = {}
        for start in range(0, len(ids), _BATCH):
            answers.update(await self._active(ids[start : start + _BATCH]))
        return answers

    async def _active(self, ids: Sequence[UUID]) -> dict[UUID, bool | DomainError]:
        try:
            request = BatchGetCustomersRequest(customer_ids=map(str, ids))
            response = await self._customers.call(self._stub.BatchGetCustomers, request, self._attempts)
        except DependencyUnavailable as away:
            return dict.fromkeys(ids, away)
        except grpc.aio.AioRpcError as error:
            log.warning("customers service failed", code=error.code().name, problem=error.details())
            return {one: DependencyUnavailable("customers") for one in ids}
        answers = {one: _answer(result) for one, result in zip(ids, response.results, strict=True)}
        return {one: answer for one, answer in answers.items() if answer is not None}


def _answer(result: BatchGetCustomersResult) -> bool | DomainError | None:
    if result.HasField("customer"):
        return result.customer.active
    if error_from_status(result.error).reason == "CUSTOMER_NOT_FOUND":
        return None
    return DependencyUnavailable("customers")
