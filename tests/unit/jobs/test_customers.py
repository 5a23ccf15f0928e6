"""The client of the customers service: results and errors of its responses."""

from uuid import UUID, uuid4

import grpc

from innosystem.customers.v1.customer_pb2 import Customer, CustomerLimits, RateLimit
from innosystem.customers.v1.customer_service_pb2 import (
    BatchGetCustomersRequest,
    BatchGetCustomersResponse,
    BatchGetCustomersResult,
)
from services.customers.rules.errors import CustomerNotFound
from services.jobs.clients.customers import GrpcCustomers
from services.jobs.usecases.ports import KnownCustomer
from services.kit import rates
from services.kit.data.errors import ConnectionFailed
from services.kit.errors import DependencyUnavailable
from services.kit.rpc.status import to_status

ADA, GRACE, NOBODY, UNKNOWN = (UUID(int=number) for number in range(1, 5))
MESSAGE = CustomerLimits(submissions=RateLimit(per_second=1, burst=2), input_bytes_per_day=0)
LIMITS = rates.CustomerLimits(submissions=rates.Rate(1, 2), input_bytes_per_day=0)
RESULTS = {
    str(ADA): BatchGetCustomersResult(customer=Customer(id=str(ADA), active=True, limits=MESSAGE)),
    str(GRACE): BatchGetCustomersResult(customer=Customer(id=str(GRACE))),
    str(NOBODY): BatchGetCustomersResult(error=to_status(CustomerNotFound(NOBODY))),
    str(UNKNOWN): BatchGetCustomersResult(error=to_status(ConnectionFailed())),
}


class Stub:
    """A customers service with some customers."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away
        self.asked: list[int] = []

    async def BatchGetCustomers(  # noqa: N802
        self, request: BatchGetCustomersRequest, timeout: float | None = None
    ) -> BatchGetCustomersResponse:
        self.asked.append(len(request.customer_ids))
        if self.away:
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())
        nobody = RESULTS[str(NOBODY)]
        return BatchGetCustomersResponse(results=[RESULTS.get(one, nobody) for one in request.customer_ids])


async def test_all_customers_are_asked_for_at_once_and_each_has_its_own_answer() -> None:
    stub = Stub()
    found = await GrpcCustomers(stub).read([ADA, GRACE, NOBODY, UNKNOWN])
    unknown = found[UNKNOWN]
    assert {ADA: found[ADA], GRACE: found[GRACE]} == {
        ADA: KnownCustomer(active=True, limits=LIMITS),
        GRACE: KnownCustomer(active=False),
    }
    assert NOBODY not in found
    assert isinstance(unknown, DependencyUnavailable)
    assert stub.asked == [4]


async def test_more_than_a_batch_are_several_calls_and_none_is_no_call() -> None:
    stub = Stub()
    assert await GrpcCustomers(stub).read([uuid4() for _ in range(1001)]) == {}
    assert await GrpcCustomers(stub).read([]) == {}
    assert stub.asked == [1000, 1]


async def test_while_the_service_is_away_nothing_is_known_of_anybody() -> None:
    found = await GrpcCustomers(Stub(away=True)).read([ADA, GRACE])
    assert {type(one) for one in found.values()} == {DependencyUnavailable}
