"""Databases of its own for `innosystem bench data`: migrated, empty, and gone afterwards."""

import asyncio
import importlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from services.cli.connect import environment
from services.cli.embedded import EmbeddedPostgres
from services.cli.errors import CommandError
from services.cli.stopping import finished

_SERVICES = ("customers", "wallets", "jobs")


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
    servers = {service: given.get(f"{service.upper()}_DATABASE_URL") for service in _SERVICES}
    embedded = None if all(servers.values()) else _embedded(opened)
    urls: dict[str, str] = {}
    for service, server in servers.items():
        name = f"innosystem_bench_{service}_{uuid4().hex}"
        if server:
            urls[service] = _make_on(server, name, f"{service.upper()}_DATABASE_URL", opened)
        elif embedded:
            embedded.create_database(name)
            urls[service] = embedded.url(name)
        Migrations(service, urls[service], importlib.import_module(f"services.{service}.models").metadata).up()
    return urls


def _embedded(opened: ExitStack) -> EmbeddedPostgres:
    # PGSERVICE, PGOPTIONS and their like are meant for another server.
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
    folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="innosystem-bench-", ignore_cleanup_errors=True))
    return opened.enter_context(EmbeddedPostgres(Path(folder)))


def _make_on(server: str, name: str, variable: str, opened: ExitStack) -> str:
    address = urlsplit(server)
    query = f"?{address.query}" if address.query else ""

    def url(path: str) -> str:
        return f"postgresql://{address.netloc}{path}{query}"

    own = url(f"/{quote(name)}")
    identifier = sql.Identifier(name)
    execute = _executor(url(address.path), variable)
    execute(sql.SQL("CREATE DATABASE {}").format(identifier))
    opened.callback(execute, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier))
    return own


def _executor(url: str, variable: str) -> Callable[[sql.Composed], None]:
    def execute(statement: sql.Composed) -> None:
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(statement)
        except psycopg.Error as error:
            # Nothing of the address: there may be a password in it.
            reason = " ".join(str(error).split())
            raise CommandError(f"can't make or drop a database on the server of {variable}: {reason}") from error

    return execute
