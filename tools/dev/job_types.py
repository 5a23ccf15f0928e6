"""Job types for handlers: those of `innosystem dev` and of `innosystem handlers register`."""

from collections.abc import Collection
from dataclasses import dataclass

from innosystem.client import Innosystem, new_id
from innosystem.jobs.v1.job_type_pb2 import JobType
from innosystem.jobs.v1.job_type_service_pb2 import CreateJobTypeRequest, GetJobTypeRequest, ListJobTypesRequest
from tools.demo.seed import if_any


@dataclass(frozen=True)
class Served:
    """The job type with the name of a handler.

    Attributes:
        job_type: The job type.
        created: Whether it was missing.
        other_handler: Whether it existed, and calls another handler.
    """

    job_type: JobType
    created: bool
    other_handler: bool = False


async def job_type_for(platform: Innosystem, handler: str, price_cents: int, currency: str) -> Served:
    """Create the job type of a handler if it is missing. Its name is the handler's ID.

    A job type that exists keeps its price and everything else. A new one has a single attempt, so that an author sees a
    failure immediately instead of after the last repetition.

    Args:
        platform: A client of the services.
        handler: The ID of the handler.
        price_cents: The price of a job if the job type is created.
        currency: Its currency.
    """
    call = platform.job_types.GetJobType(GetJobTypeRequest(name=handler))
    if found := await if_any(call, "JOB_TYPE_NOT_FOUND"):
        other = found.job_type.processing_logic_id != handler
        return Served(found.job_type, created=False, other_handler=other)
    job_type = new_job_type(handler, price_cents, currency)
    job_type.max_attempts = 1
    response = await platform.job_types.CreateJobType(CreateJobTypeRequest(job_type=job_type))
    return Served(response.job_type, created=True)


def new_job_type(handler: str, price_cents: int, currency: str) -> JobType:
    """Return a job type for a handler, with its ID as the name.

    Args:
        handler: The ID of the handler.
        price_cents: The price of a job.
        currency: Its currency.
    """
    return JobType(
        id=str(new_id()),
        name=handler,
        processing_logic_id=handler,
        standard_cost_cents=price_cents,
        currency=currency,
    )


async def all_job_types(platform: Innosystem) -> list[JobType]:
    """Return all job types by their names."""
    found: list[JobType] = []
    request = ListJobTypesRequest(page_size=1000)
    while True:
        response = await platform.job_types.ListJobTypes(request)
        found += response.job_types
        if not response.next_page_token:
            return found
        request.page_token = response.next_page_token


async def queues_of(platform: Innosystem, handlers: Collection[str]) -> set[str]:
    """Return the queues in which jobs for handlers wait: those of all job types that call one of them.

    Args:
        platform: A client of the services.
        handlers: The IDs of the handlers.
    """
    return {each.queue for each in await all_job_types(platform) if each.processing_logic_id in handlers}
