"""Temporary databases for the benchmarks: migrated, empty, and dropped afterwards."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import psycopg

from services import SERVICES
from tools.local.embedded import EmbeddedPostgres
from tools.local.environment import (
    DatabaseServer,
    database_servers,
    database_variable,
    drop_libpq_variables,
    environment,
)
from tools.local.migrations import migrations
from tools.local.stopping import run_to_completion
from tools.local.temporary_databases import temporary_database


@asynccontextmanager
async def service_databases() -> AsyncIterator[Mapping[str, str]]:
    """Yield the address of a new database for each service, with its tables.

    The databases are created on the servers that `*_DATABASE_URL` name, else on an embedded server.
    """
    opened = ExitStack()
    try:
        yield await run_to_completion(asyncio.to_thread(_create_all, opened))
    finally:
        await run_to_completion(asyncio.to_thread(opened.close))


@asynccontextmanager
async def new_database(beside: str, *, tables_of: str | None = None) -> AsyncIterator[str]:
    """Yield the address of a new database on the server of another one.

    Args:
        beside: The address of a database on the server.
        tables_of: The service whose tables the database gets, by that service's migrations; None for an empty one.
    """
    server = DatabaseServer(database_variable(tables_of or "jobs"), beside)
    opened = ExitStack()
    try:
        url = await run_to_completion(asyncio.to_thread(temporary_database, server, "bench", opened))
        if tables_of is not None:
            await run_to_completion(asyncio.to_thread(migrations(tables_of, url).up))
        yield url
    finally:
        await run_to_completion(asyncio.to_thread(opened.close))


def server_version(url: str) -> str:
    """Return the version of the PostgreSQL that serves a database, such as `18.6`."""
    with psycopg.connect(url) as connection:
        number = connection.info.server_version
    return f"{number // 10_000}.{number % 10_000}"


def _create_all(opened: ExitStack) -> Mapping[str, str]:
    servers = database_servers(environment())
    embedded = None if len(servers) == len(SERVICES) else _embedded(opened)
    urls: dict[str, str] = {}
    for service in SERVICES:
        if service in servers:
            urls[service] = temporary_database(servers[service], f"bench_{service}", opened)
        elif embedded:
            name = f"innosystem_bench_{service}"
            embedded.create_database(name)
            urls[service] = embedded.url(name)
        migrations(service, urls[service]).up()
    return urls


def _embedded(opened: ExitStack) -> EmbeddedPostgres:
    drop_libpq_variables(os.environ)
    folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="innosystem-bench-", ignore_cleanup_errors=True))
    return opened.enter_context(EmbeddedPostgres(Path(folder)))
