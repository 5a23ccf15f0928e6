"""Client of the customers service, over gRPC."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import grpc
import structlog
from typing_extensions import override

from innosystem.client import error_from_status
from innosystem.customers.v1.customer_service_pb2 import BatchGetCustomersRequest, BatchGetCustomersResult
from services.jobs.usecases.ports import CustomerReader, KnownCustomer
from services.kit.errors import DependencyUnavailable, DomainError
from services.kit.rpc.convert import customer_limits
from services.kit.rpc.dependency import Dependency

log = structlog.get_logger(__name__)

_BATCH: Final = 1000
# Of the time of a call: a response takes milliseconds, so the first attempt is short.
_SHARES: Final = (1 / 6, 1 / 3, 1 / 2)


class GrpcCustomers(CustomerReader):
    """The customers service as a port of the use cases. The channel repeats calls that are safe to repeat.

    Args:
        stub: A stub of CustomerService.
        deadline_seconds: The time limit of a call.
    """

    def __init__(self, stub: Any, deadline_seconds: float = 3.0) -> None:
        self._stub = stub
        self._customers = Dependency("customers")
        self._attempts = [share * deadline_seconds for share in _SHARES]

    @override
    async def read(self, customer_ids: Collection[UUID]) -> Mapping[UUID, KnownCustomer | DomainError]:
        ids = list(customer_ids)
        results: dict[UUID, KnownCustomer | DomainError] = {}
        for start in range(0, len(ids), _BATCH):
            results.update(await self._read(ids[start : start + _BATCH]))
        return results

    async def _read(self, ids: Sequence[UUID]) -> dict[UUID, KnownCustomer | DomainError]:
        try:
            request = BatchGetCustomersRequest(customer_ids=map(str, ids))
            response = await self._customers.call(self._stub.BatchGetCustomers, request, self._attempts)
        except DependencyUnavailable as error:
            return dict.fromkeys(ids, error)
        except grpc.aio.AioRpcError as error:
            log.warning("customers_call_failed", code=error.code().name, error=error.details())
            return {one: DependencyUnavailable("customers") for one in ids}
        results = {one: _known(result) for one, result in zip(ids, response.results, strict=True)}
        return {one: known for one, known in results.items() if known is not None}


def _known(result: BatchGetCustomersResult) -> KnownCustomer | DomainError | None:
    if result.HasField("customer"):
        return KnownCustomer(result.customer.active, customer_limits(result.customer))
    if error_from_status(result.error).reason == "CUSTOMER_NOT_FOUND":
        return None
    return DependencyUnavailable("customers")
