"""Connects commands to the services."""

import getpass
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from dotenv import dotenv_values

from services.cli.errors import CommandError, ServiceUnreachable

if TYPE_CHECKING:
    from innosystem.client import Innosystem

# Where `innosystem up` puts the services, and where they listen when nothing else is said.
_DEFAULTS: Final = {
    "customers": "localhost:50051",
    "wallets": "localhost:50052",
    "jobs": "localhost:50053",
}
_DEADLINE_SECONDS: Final = 30.0


def environment() -> Mapping[str, str]:
    """Reads the environment and, for what is missing there, the file `.env` of the working directory."""
    values = {**dotenv_values(".env"), **os.environ}
    # `NAME=` means that nobody filled it in.
    return {name: value for name, value in values.items() if value}


def addresses() -> dict[str, str]:
    """Tells where the services are: CUSTOMERS_ADDRESS, WALLETS_ADDRESS and JOBS_ADDRESS, or the local stack."""
    given = environment()
    return {service: given.get(f"{service.upper()}_ADDRESS", default) for service, default in _DEFAULTS.items()}


def pooled(service: str, settings: Mapping[str, str]) -> bool:
    """Tells whether a pooler stands before the database of a service: JOBS_DATABASE_POOLED and so on."""
    from pydantic import TypeAdapter, ValidationError

    variable = f"{service.upper()}_DATABASE_POOLED"
    try:
        return TypeAdapter(bool).validate_python(settings.get(variable, False))
    except ValidationError as error:
        raise CommandError(f"{variable} is neither true nor false") from error


def owner_variable(service: str) -> str:
    """Return the variable with the address by which the owner of a service's database connects, to migrate it."""
    return f"{service.upper()}_DATABASE_OWNER_URL"


def service_role(service: str, settings: Mapping[str, str]) -> str | None:
    """Return the role that a service connects as, where it is not the owner of the database: its URL names both.

    Raises:
        CommandError: If there is a URL of the owner, and that of the service names nobody, or the same role.
    """
    variable = f"{service.upper()}_DATABASE_URL"
    owner, url = settings.get(owner_variable(service)), settings.get(variable)
    if not owner or not url:
        return None
    role = unquote(urlsplit(url).username or "")
    if not role or role == unquote(urlsplit(owner).username or ""):
        raise CommandError(
            f"{variable} has to name the role of the service, which is not that of {owner_variable(service)}"
        )
    return role


def user_at_host() -> str:
    """Return who runs this command, as far as the machine knows."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # In a container a user may have no name.
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


@asynccontextmanager
async def platform() -> AsyncIterator["Innosystem"]:
    """Makes a client of the services, whose errors name the service that can't be reached."""
    from innosystem.client import Innosystem

    where = addresses()
    interceptor = _naming_interceptor(where)
    async with Innosystem(**where, interceptors=[interceptor], deadline_seconds=_DEADLINE_SECONDS) as client:
        yield client


def _naming_interceptor(where: Mapping[str, str]) -> Any:
    import grpc
    from grpc import aio

    from innosystem.client import error_from

    class NamesTheService(aio.UnaryUnaryClientInterceptor):
        """Tells, when nothing answers, whom the call was for: gRPC's own error does not."""

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
    """Reads the service from the path of a method, `/innosystem.jobs.v1.JobTypeService/GetJobType`."""
    method = details.method.decode() if isinstance(details.method, bytes) else details.method
    return str(method).split(".")[1]
