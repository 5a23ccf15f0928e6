"""Job types by their names or UUIDs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from tools.errors import CommandError

if TYPE_CHECKING:
    from innosystem.client import Innosystem
    from innosystem.jobs.v1.job_type_pb2 import JobType

# One page: more job types are rare, and a suggestion is a help only.
_COMPARED_MAX: Final = 1000

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
    async with suggesting(client, name):
        return (await client.job_types.GetJobType(request)).job_type


@asynccontextmanager
async def suggesting(client: "Innosystem", name: str) -> AsyncIterator[None]:
    """Name a similar job type if the one that the calls of the block need does not exist.

    Raises:
        CommandError: It does not exist, and another one is called nearly like it.
    """
    from difflib import get_close_matches

    import grpc

    from innosystem.client import error_from
    from innosystem.jobs.v1.job_type_service_pb2 import ListJobTypesRequest

    try:
        yield
    except grpc.RpcError as error:
        known = error_from(error)
        if known is None or known.reason != "JOB_TYPE_NOT_FOUND":
            raise
        listed = await client.job_types.ListJobTypes(ListJobTypesRequest(page_size=_COMPARED_MAX))
        near = get_close_matches(name, [one.name for one in listed.job_types], 1)
        if not near:
            raise
        raise CommandError(f"JOB_TYPE_NOT_FOUND: there is no job type {name}: did you mean {near[0]}?") from error


def is_uuid(text: str) -> bool:
    """Return whether a text is a UUID."""
    from uuid import UUID

    try:
        UUID(text)
    except ValueError:
        return False
    return True
