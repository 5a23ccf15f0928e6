"""Databases of its own for `innosystem bench data`: migrated, empty, and gone afterwards."""

import asyncio
import importlib
import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import psycopg

from services import SERVICES
from tools.local.embedded import EmbeddedPostgres
from tools.local.environment import environment, owner_variable
from tools.local.own_databases import own_database
from tools.local.stopping import finished


@asynccontextmanager
async def databases() -> AsyncIterator[Mapping[str, str]]:
    """Yields the address of a new database for each service, and drops them.

    They are made on the servers that `*_DATABASE_URL` name, beside the databases that are named and untouched by this,
    else on an embedded server.
    """
    opened = ExitStack()
    try:
        yield await finished(asyncio.to_thread(_make_all, opened))
    finally:
        await finished(asyncio.to_thread(opened.close))


def server_version(url: str) -> str:
    """Says which PostgreSQL serves a database, such as `18.6`."""
    with psycopg.connect(url) as connection:
        number = connection.info.server_version
    return f"{number // 10_000}.{number % 10_000}"


def _make_all(opened: ExitStack) -> Mapping[str, str]:
    from services.kit.migrations.tree import Migrations

    given = environment()
    # A service's role may make no databases.
    variables = {
        service: owner if (owner := owner_variable(service)) in given else f"{service.upper()}_DATABASE_URL"
        for service in SERVICES
    }
    servers = {service: given.get(variable) for service, variable in variables.items()}
    embedded = None if all(servers.values()) else _embedded(opened)
    urls: dict[str, str] = {}
    for service, server in servers.items():
        if server:
            urls[service] = own_database(variables[service], server, f"bench_{service}", opened)
        elif embedded:
            name = f"innosystem_bench_{service}"
            embedded.create_database(name)
            urls[service] = embedded.url(name)
        Migrations(service, urls[service], importlib.import_module(f"services.{service}.store.tables").metadata).up()
    return urls


def _embedded(opened: ExitStack) -> EmbeddedPostgres:
    # PGSERVICE, PGOPTIONS and their like are meant for another server.
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
    folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="innosystem-bench-", ignore_cleanup_errors=True))
    return opened.enter_context(EmbeddedPostgres(Path(folder)))
