"""`innosystem job-types`."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from tools.cli.connect import platform
from tools.cli.listing import collect
from tools.cli.money import WHOLE, Amount, Cents, CurrencyCode, amount_of
from tools.cli.options import Filter, Json, Limit, OrderBy, PriorityName
from tools.cli.output import print_message, print_messages

if TYPE_CHECKING:
    from innosystem.client import Innosystem
    from innosystem.jobs.v1.job_type_pb2 import JobType

app = App(name="job-types", help="List, show, create, pause or resume job types.")

_COLUMNS = (
    "id",
    "name",
    "processing_logic_id",
    "processor_type",
    "standard_cost_cents",
    "queue",
    "enabled",
    "paused",
)
Name = Annotated[str, Parameter(name="NAME")]


@app.command(name="list")
async def list_job_types(
    *,
    filter: Filter = "",
    order_by: OrderBy = "",
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List job types by name."""
    from innosystem.jobs.v1.job_type_service_pb2 import ListJobTypesRequest

    request = ListJobTypesRequest(filter=filter, order_by=order_by)
    async with platform() as client:
        found = await collect(client.job_types.ListJobTypes, request, "job_types", limit)
    print_messages(found, _COLUMNS, as_json=as_json, nothing="No job types found.")


@app.command
async def show(name: Name, /, *, as_json: Json = False) -> None:
    """Show one job type.

    Args:
        name: Its name, or its UUID.
    """
    async with platform() as client:
        job_type = await _get(client, name)
    print_message(job_type, as_json=as_json)


@app.command
async def pause(name: Name, /) -> None:
    """Withhold the waiting jobs of a job type from the runners. Running jobs continue.

    Args:
        name: Its name, or its UUID.
    """
    from innosystem.jobs.v1.job_type_service_pb2 import PauseJobTypeRequest

    async with platform() as client:
        job_type = await _get(client, name)
        await client.job_types.PauseJobType(PauseJobTypeRequest(job_type_id=job_type.id))
    print(f"{job_type.name} is paused.")


@app.command
async def resume(name: Name, /) -> None:
    """Dispatch the waiting jobs of a job type to runners again.

    Args:
        name: Its name, or its UUID.
    """
    from innosystem.jobs.v1.job_type_service_pb2 import ResumeJobTypeRequest

    async with platform() as client:
        job_type = await _get(client, name)
        await client.job_types.ResumeJobType(ResumeJobTypeRequest(job_type_id=job_type.id))
    print(f"{job_type.name} is not paused.")


async def _get(client: "Innosystem", name: str) -> "JobType":
    from innosystem.jobs.v1.job_type_service_pb2 import GetJobTypeRequest

    request = GetJobTypeRequest(id=name) if _is_uuid(name) else GetJobTypeRequest(name=name)
    return (await client.job_types.GetJobType(request)).job_type


@app.command
async def create(
    *,
    name: str,
    processor_type: Literal["SYNC", "ASYNC"],
    standard_cost: Amount = None,
    standard_cost_cents: Cents = None,
    processing_logic_id: str = "",
    currency: CurrencyCode = None,
    description: str = "",
    queue: str = "default",
    default_priority: PriorityName = "MEDIUM",
    max_attempts: Annotated[int | None, WHOLE] = None,
    job_type_id: str = "",
    as_json: Json = False,
) -> None:
    """Create a job type.

    Args:
        name: The name by which jobs are submitted, such as `python.source-stats`.
        processor_type: SYNC for a blocking function, ASYNC for a coroutine.
        standard_cost: The price of one job with its currency, such as 0.05EUR; 0EUR for free jobs.
        standard_cost_cents: The price in the currency's minor unit, a whole number: 5.
        processing_logic_id: The handler that runners call; by default the name.
        currency: The currency of --standard-cost-cents; by default EUR.
        description: A description for people.
        queue: The queue in which jobs wait.
        default_priority: The priority of jobs that are submitted without one.
        max_attempts: How many times a job is run before it fails for good, 1 to 100; by default 10.
        job_type_id: The UUID of the job type; by default a new one. Repeating the call changes nothing.
    """
    from innosystem.jobs.v1.job_type_pb2 import JobType, Priority, ProcessorType
    from innosystem.jobs.v1.job_type_service_pb2 import CreateJobTypeRequest

    price = amount_of("--standard-cost", standard_cost, standard_cost_cents, currency)
    job_type = JobType(
        id=job_type_id,
        name=name,
        description=description,
        processing_logic_id=processing_logic_id or name,
        processor_type=ProcessorType.Value(f"PROCESSOR_TYPE_{processor_type}"),
        standard_cost_cents=price.cents,
        currency=price.currency,
        queue=queue,
        default_priority=Priority.Value(f"PRIORITY_{default_priority}"),
        max_attempts=max_attempts or 0,
    )
    async with platform() as client:
        response = await client.job_types.CreateJobType(CreateJobTypeRequest(job_type=job_type))
    print_message(response.job_type, as_json=as_json)


def _is_uuid(text: str) -> bool:
    from uuid import UUID

    try:
        UUID(text)
    except ValueError:
        return False
    return True
