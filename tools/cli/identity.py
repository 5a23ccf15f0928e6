"""Proof that a service and a database belong to the same platform: both name the identity of the database.

Every service replies to a health check with it (`services/kit/database_identity.py`); services before 0.2 do not.
"""

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from services.kit.database_identity import DATABASE_METADATA, PLACE, VERSION_METADATA, database_identity
from tools.errors import CommandError
from tools.local.environment import address_variable, database_variable
from tools.local.target import Target
from tools.local.urls import for_libpq

if TYPE_CHECKING:
    from psycopg import AsyncConnection, Error

_SECONDS_MAX: Final = 3.0


@dataclass(frozen=True)
class ServiceHealth:
    """The reply of a service to a health check.

    Attributes:
        status: `SERVING` or `NOT_SERVING`.
        version: The release; empty if the service does not name it.
        database: The identity of its database; empty if the service does not know it yet, or does not name it.
    """

    status: str
    version: str
    database: str


async def service_health(chosen: Target, service: str, *, seconds_max: float = _SECONDS_MAX) -> ServiceHealth:
    """Return the health of a service.

    Raises:
        CommandError: The source does not name the service.
        TransportError: The connection can't be protected as the settings say.
        grpc.aio.AioRpcError: The service is unreachable, or does not reply in time.
    """
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
    from grpc_health.v1.health_pb2_grpc import HealthStub

    from innosystem.client import NO_TOKEN, connect

    async with connect(chosen.address(service), token=NO_TOKEN, transport=chosen.transport) as channel:
        request = HealthCheckRequest()
        call = HealthStub(channel).Check(request, timeout=seconds_max)  # type: ignore[attr-defined] # not in the stubs
        reply = await call
        metadata = dict(await call.trailing_metadata())
    status = HealthCheckResponse.ServingStatus.Name(reply.status)
    return ServiceHealth(status, str(metadata.get(VERSION_METADATA, "")), str(metadata.get(DATABASE_METADATA, "")))


@dataclass(frozen=True)
class DatabaseFacts:
    """What a database says about itself.

    Attributes:
        revision: The revision of its schema; empty before the first migration.
        service: The service that it belongs to; empty before a migration has said so.
        identity: Its identity; empty if the server withholds it.
    """

    revision: str = ""
    service: str = ""
    identity: str = ""


async def database_facts(url: str, *, seconds_max: float = _SECONDS_MAX) -> DatabaseFacts:
    """Return what a database says about itself.

    Raises:
        psycopg.Error: The database is unavailable, or refuses.
        TimeoutError: It does not reply in time.
    """
    import psycopg

    from services.kit.migrations.ownership import REVISIONS

    async with (
        asyncio.timeout(seconds_max),
        await psycopg.AsyncConnection.connect(for_libpq(url), autocommit=True) as connection,
    ):
        place = await _row(connection, PLACE, unless=psycopg.errors.InsufficientPrivilege)
        found = await _row(connection, REVISIONS, unless=psycopg.errors.UndefinedTable)
    revision, service = found or (None, None)
    return DatabaseFacts(revision or "", service or "", database_identity(place[0]) if place else "")


async def _row(connection: "AsyncConnection[Any]", query: str, *, unless: "type[Error]") -> Any:
    try:
        return await (await connection.execute(query.encode())).fetchone()
    except unless:
        return None


async def same_database(chosen: Target, service: str) -> bool | None:
    """Return whether a service uses the database that the source of the platform names; None if it can't be proven.

    Raises:
        CommandError: The source does not name the service.
    """
    import psycopg
    from grpc import aio

    url = chosen.settings.get(database_variable(service))
    if not url:
        return None
    try:
        health, facts = await asyncio.gather(service_health(chosen, service), database_facts(url))
    except (aio.AioRpcError, psycopg.Error, TimeoutError):
        # The command itself will meet the same failure, and describe it.
        return None
    return health.database == facts.identity if health.database and facts.identity else None


async def check_same_database(chosen: Target, service: str) -> bool:
    """Check that a service uses the database that the source of the platform names.

    Returns:
        Whether it is proven.

    Raises:
        CommandError: The service uses another database.
    """
    same = await same_database(chosen, service)
    if same is False:
        raise CommandError(
            f"the {service} service at {chosen.address(service)} uses another database than the one at "
            f"{database_variable(service)} ({chosen.source}): nothing was done. Name services and databases of one "
            f"platform ({address_variable(service)}), or choose a context: `innosystem context list`"
        )
    return same is True


async def check_guess(chosen: Target) -> None:
    """Check that the services at the default addresses use the databases that the source names.

    What can't be proven is said on standard error.

    Raises:
        CommandError: A service uses another database.
    """
    guessed = [service for service in chosen.defaults if address_variable(service) not in chosen.settings]
    proven = await asyncio.gather(*(check_same_database(chosen, service) for service in guessed))
    if unproven := [service for service, one in zip(guessed, proven, strict=True) if not one]:
        addresses = ", ".join(f"{service} at {chosen.address(service)}" for service in unproven)
        print(
            f"innosystem: {chosen.source} names no services: the default addresses are used ({addresses}), and it "
            "could not be checked that they use the databases that are set",
            file=sys.stderr,
        )
