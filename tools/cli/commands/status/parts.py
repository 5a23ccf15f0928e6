"""The services, databases and Redis of a platform, each looked at on its own and within a time of its own."""

import asyncio
import shlex
from typing import Final

from innosystem.shared.transport import TransportError
from services import SERVICES
from tools.cli.commands.status.report import Found, Part, Problem
from tools.cli.identity import DatabaseFacts, ServiceHealth, database_facts, service_health
from tools.local.contexts import read_contexts
from tools.local.environment import database_variable, owner_variable
from tools.local.target import Target
from tools.local.urls import place

SECONDS_MAX: Final = 4.0
"""How long a part may take to reply. It then counts as unreachable."""


async def look_at_parts(chosen: Target) -> Found:
    """Look at services, databases and Redis at the same time."""
    async with asyncio.TaskGroup() as group:
        services = {service: group.create_task(_health(chosen, service)) for service in SERVICES}
        databases = {service: group.create_task(_facts(chosen, service)) for service in SERVICES}
        redis = group.create_task(_redis(chosen))
    of_services = [_service(chosen, one, services[one].result(), databases[one].result()) for one in SERVICES]
    of_databases = [_database(chosen, one, databases[one].result()) for one in SERVICES]
    looks = [*of_services, *of_databases, redis.result()]
    # A cause comes before its effects.
    causes = [*of_databases, redis.result(), *of_services]
    return Found(
        parts=[part for look in looks for part in look.parts],
        problems=[problem for look in causes for problem in look.problems],
    )


async def _health(chosen: Target, service: str) -> ServiceHealth | str:
    """Return the health of a service, or why it is unknown; empty if its address is."""
    from grpc import aio

    if service not in chosen.addresses:
        return ""
    try:
        async with asyncio.timeout(SECONDS_MAX):
            return await service_health(chosen, service, seconds_max=SECONDS_MAX)
    except (aio.AioRpcError, TimeoutError, TransportError) as error:
        return _reason(error)


async def _facts(chosen: Target, service: str) -> DatabaseFacts | str:
    """Return what a database says about itself, or why that is unknown; empty if its address is."""
    import psycopg

    from services.kit.data.engine.address import DatabaseAddress
    from services.kit.settings import check_database_url

    if not (url := _url(chosen, service)):
        return ""
    try:
        check_database_url(url)
    except ValueError as error:
        return f"it {error}"
    try:
        return await database_facts(url, seconds_max=SECONDS_MAX)
    except psycopg.Error as error:
        if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:
            # libpq repeats what it does not understand, which may be half of a password.
            return "it is no URL such as postgresql://user:password@host:5432/name"
        return DatabaseAddress.of(url).said(error)
    except TimeoutError as error:
        return _reason(error)


def _service(chosen: Target, service: str, health: ServiceHealth | str, facts: DatabaseFacts | str) -> Found:
    address = chosen.addresses.get(service, "")
    if isinstance(health, str):
        state: Part = Part(service, address, "unreachable" if address else "unknown")
        return Found([state], problems=[_unreachable(chosen, service, address, health)] if address else [])
    serving = health.status == "SERVING"
    found = Found([Part(service, address, "serving" if serving else "not serving", health.version)])
    # Where its database can't be used, that is the cause, and is said.
    if not serving and (not isinstance(facts, str) or not facts):
        what = f"the {service} service at {address} is not serving: its log says why, often its database"
        found.problems.append(Problem(what, _log(chosen, service)))
    if isinstance(facts, DatabaseFacts) and health.database and facts.identity not in ("", health.database):
        found.problems.append(
            Problem(
                f"the {service} service at {address} uses another database than {database_variable(service)} names",
                "innosystem context list",
            )
        )
    return found


def _unreachable(chosen: Target, service: str, address: str, reason: str) -> Problem:
    return Problem(
        f"the {service} service at {address} is unreachable: {reason}",
        "innosystem up" if service in chosen.defaults else _log(chosen, service) or "innosystem context list",
    )


def _log(chosen: Target, service: str) -> str:
    """Return the command that shows the log of a service of a local stack; empty for any other platform."""
    stack = read_contexts().named(chosen.context).stack if chosen.context else None
    return f"tail {shlex.quote(str(stack / 'logs' / f'{service}.log'))}" if stack else ""


def _database(chosen: Target, service: str, facts: DatabaseFacts | str) -> Found:
    name, variable, url = f"{service} database", database_variable(service), _url(chosen, service)
    where = place(url)
    if isinstance(facts, str):
        if not url:
            return Found([Part(name, "", "unknown")])
        return Found(
            [Part(name, where, "unreachable")],
            problems=[Problem(f"the {name} at {where} ({variable}) can't be used: {facts}")],
        )
    if facts.service not in ("", service):
        wrong = Problem(f"{variable} names the database of {facts.service}", "innosystem context show")
        return Found([Part(name, where, "other", facts.revision)], problems=[wrong])
    pending = _pending(service, facts.revision)
    if pending is None:
        ahead = Problem(
            f"the {name} is at {facts.revision}, a revision of another release", "innosystem migrate current"
        )
        return Found([Part(name, where, "ahead", facts.revision)], problems=[ahead])
    if pending:
        behind = Problem(f"{_count(pending, 'migration')} pending in the {name}", f"innosystem migrate up {service}")
        return Found([Part(name, where, "behind", facts.revision)], problems=[behind])
    return Found([Part(name, where, "responds", facts.revision)])


def _pending(service: str, revision: str) -> int | None:
    """Return how many migrations are pending; None for a revision that this release does not know."""
    from services.kit.migrations.startup import head
    from tools.local.migrations import migrations

    if revision == head(service):
        return 0
    # Needs no connection, and imports Alembic, which is slow.
    known = migrations(service, "postgresql://")
    return len(known.after(revision or None)) if known.knows(revision or None) else None


async def _redis(chosen: Target) -> Found:
    from redis import asyncio as redis
    from redis.exceptions import RedisError

    from innosystem.shared.redis_connections import check_url

    if not (url := chosen.settings.get("REDIS_URL")):
        return Found([Part("Redis", "", "unknown")])
    where = place(url)
    try:
        check_url(url)
    except ValueError as error:
        return Found([Part("Redis", where, "unreachable")], problems=[Problem(f"REDIS_URL {error}")])
    try:
        async with asyncio.timeout(SECONDS_MAX), redis.Redis.from_url(url) as client:
            about = await client.info("server")
    except (RedisError, TimeoutError, OSError, ValueError) as error:
        what = f"Redis at {where} is unreachable: {_reason(error)}. New jobs reach no runner"
        return Found([Part("Redis", where, "unreachable")], problems=[Problem(what)])
    return Found([Part("Redis", where, "responds", str(about.get("redis_version", "")))])


def _url(chosen: Target, service: str) -> str:
    settings = chosen.settings
    return settings.get(database_variable(service)) or settings.get(owner_variable(service), "")


def _reason(error: BaseException) -> str:
    """Return why a part can't be used, in one line."""
    from grpc import StatusCode, aio

    if isinstance(error, TimeoutError):
        return f"no response within {SECONDS_MAX:g} s"
    if isinstance(error, aio.AioRpcError):
        if error.code() == StatusCode.DEADLINE_EXCEEDED:
            return f"no response within {SECONDS_MAX:g} s"
        return "nothing listens there" if "refused" in (error.details() or "") else error.details() or error.code().name
    # The lines of a reason become its parts.
    return "; ".join(" ".join(line.split()) for line in str(error).splitlines() if line.strip()) or type(error).__name__


def _count(number: int, noun: str) -> str:
    return f"1 {noun} is" if number == 1 else f"{number:,} {noun}s are"
