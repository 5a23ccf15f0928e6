"""The names of job types and customers, for tables whose messages have only IDs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from innosystem.client import Innosystem

# A filter has at most 100 comparisons and 4,096 characters.
_IDS_OF_FILTER: Final = 80
_BATCH: Final = 1000


@dataclass(frozen=True)
class Names:
    """The names of what messages refer to, by ID.

    Attributes:
        job_types: The names of job types.
        customers: The names of customers.
    """

    job_types: Mapping[str, str]
    customers: Mapping[str, str]

    def job_type(self, job_type_id: str) -> str:
        """Return the name of a job type, or its ID if it has none here."""
        return self.job_types.get(job_type_id, job_type_id)

    def customer(self, customer_id: str) -> str:
        """Return the name of a customer, or its ID if it has none here."""
        return self.customers.get(customer_id, customer_id)


NO_NAMES: Final = Names({}, {})


async def job_type_names(client: "Innosystem", ids: Iterable[str]) -> dict[str, str]:
    """Return the names of job types by their IDs, without those that do not exist."""
    from innosystem.jobs.v1.job_type_service_pb2 import ListJobTypesRequest

    wanted = sorted(filter(None, ids))
    names: dict[str, str] = {}
    for start in range(0, len(wanted), _IDS_OF_FILTER):
        part = wanted[start : start + _IDS_OF_FILTER]
        condition = " OR ".join(f'id = "{one}"' for one in part)
        request = ListJobTypesRequest(filter=condition, page_size=len(part))
        while True:
            response = await client.job_types.ListJobTypes(request)
            names |= {job_type.id: job_type.name for job_type in response.job_types}
            request.page_token = response.next_page_token
            if not request.page_token:
                break
    return names


async def customer_names(client: "Innosystem", ids: Iterable[str]) -> dict[str, str]:
    """Return the names of customers by their IDs, without those that do not exist.

    A list of jobs or wallets must not fail because the customers service can't be reached: then it has no names.
    """
    from grpc import StatusCode, aio

    from innosystem.customers.v1.customer_service_pb2 import BatchGetCustomersRequest
    from tools.errors import ServiceUnreachable

    wanted = sorted(filter(None, ids))
    names: dict[str, str] = {}
    for start in range(0, len(wanted), _BATCH):
        request = BatchGetCustomersRequest(customer_ids=wanted[start : start + _BATCH])
        try:
            response = await client.customers.BatchGetCustomers(request)
        except ServiceUnreachable:
            return names
        except aio.AioRpcError as error:
            if error.code() not in (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED):
                raise
            return names
        found = [result.customer for result in response.results if result.HasField("customer")]
        names |= {customer.id: customer.name for customer in found}
    return names
