"""The connection of commands to the services."""

import getpass
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from services import SERVICES
from tools.errors import ServiceUnreachable
from tools.local.environment import address_variable
from tools.local.target import Target, announced

if TYPE_CHECKING:
    from grpc import aio

    from innosystem.client import Innosystem

_DEADLINE_SECONDS: Final = 30.0
# Stands for an address that is unknown, followed by the service.
_UNKNOWN: Final = "unknown:"


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
    """Yield a client of the services, whose errors name an unreachable service.

    Raises:
        CommandError: The platform of this command has no services, or other databases than those that are set.
    """
    from innosystem.client import Innosystem

    chosen = announced()

    class Client(Innosystem):
        """Refuses services that the platform's source does not name: the defaults may be another platform's."""

        def _connect(self, address: str) -> "aio.Channel":
            if address.startswith(_UNKNOWN):
                chosen.require(address_variable(address.removeprefix(_UNKNOWN)))
            return super()._connect(address)

    if chosen.is_guessed:
        from tools.cli.identity import check_guess

        await check_guess(chosen)
    where = {service: chosen.addresses.get(service, f"{_UNKNOWN}{service}") for service in SERVICES}
    interceptor = _naming_interceptor(chosen)
    async with Client(
        **where,
        transport=chosen.transport,
        token=chosen.token(),
        interceptors=[interceptor],
        deadline_seconds=_DEADLINE_SECONDS,
    ) as client:
        yield client


def say_unreachable() -> None:
    """Say on standard error that a job can't be watched for the moment."""
    sys.stderr.write(
        "The jobs service can't be reached: still trying. The job is not lost; Ctrl-C stops only this command.\n"
    )
    sys.stderr.flush()


def unreachable(chosen: Target, service: str) -> ServiceUnreachable:
    """Return the error for a service of a platform that is unreachable."""
    if chosen.context:
        advice = f"`innosystem --context {chosen.context} status` shows more; `innosystem context list` other platforms"
    elif chosen.defaults:
        advice = "`innosystem up` starts everything; `innosystem context use` chooses another platform"
    else:
        advice = f"{address_variable(service)} says where; `innosystem context list` shows other platforms"
    return ServiceUnreachable(service, chosen.address(service), chosen.source, advice)


def _naming_interceptor(chosen: Target) -> "aio.UnaryUnaryClientInterceptor":
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
                        raise unreachable(chosen, _service(client_call_details)) from error
            return call

    return NamesTheService()


def _service(details: Any) -> str:
    """Return the service from the path of a method, `/innosystem.jobs.v1.JobTypeService/GetJobType`."""
    method = details.method.decode() if isinstance(details.method, bytes) else details.method
    return str(method).split(".")[1]
