"""Job types by their names or UUIDs."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from innosystem.client import Innosystem
    from innosystem.jobs.v1.job_type_pb2 import JobType

Name = Annotated[str, Parameter(name="NAME")]


async def find_job_type(client: "Innosystem", name: str) -> "JobType":
    """Return a job type.

    Args:
        client: The platform.
        name: Its name, or its UUID.

    Raises:
        grpc.RpcError: It does not exist, or the service can't be reached.
    """
    from innosystem.jobs.v1.job_type_service_pb2 import GetJobTypeRequest

    request = GetJobTypeRequest(id=name) if is_uuid(name) else GetJobTypeRequest(name=name)
    return (await client.job_types.GetJobType(request)).job_type


def is_uuid(text: str) -> bool:
    """Return whether a text is a UUID."""
    from uuid import UUID

    try:
        UUID(text)
    except ValueError:
        return False
    return True
