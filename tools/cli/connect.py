"""The connection of commands to the services."""

import getpass
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from tools.errors import ServiceUnreachable
from tools.local.environment import addresses

if TYPE_CHECKING:
    from grpc import aio

    from innosystem.client import Innosystem

_DEADLINE_SECONDS: Final = 30.0


def user_at_host() -> str:
    """Return the user and the host that run this command."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # In a container, a user may have no name.
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


@asynccontextmanager
async def platform() -> AsyncIterator["Innosystem"]:
    """Yield a client of the services, whose errors name an unreachable service."""
    from innosystem.client import Innosystem

    where = addresses()
    interceptor = _naming_interceptor(where)
    async with Innosystem(**where, interceptors=[interceptor], deadline_seconds=_DEADLINE_SECONDS) as client:
        yield client


def _naming_interceptor(where: Mapping[str, str]) -> "aio.UnaryUnaryClientInterceptor":
    import grpc
    from grpc import aio

    from innosystem.client import error_from

    class NamesTheService(aio.UnaryUnaryClientInterceptor):
        """Names the service of a failed call in the error, unlike gRPC."""

        async def intercept_unary_unary(
            self, continuation: Callable[..., Any], client_call_details: aio.ClientCallDetails, request: Any
        ) -> Any:
            call = await continuation(client_call_details, request)
            if await call.code() == grpc.StatusCode.UNAVAILABLE:
                try:
                    await call
                except aio.AioRpcError as error:
                    if error_from(error) is None:
                        service = _service(client_call_details)
                        raise ServiceUnreachable(service, where[service]) from error
            return call

    return NamesTheService()


def _service(details: Any) -> str:
    """Return the service from the path of a method, `/innosystem.jobs.v1.JobTypeService/GetJobType`."""
    method = details.method.decode() if isinstance(details.method, bytes) else details.method
    return str(method).split(".")[1]
