"""Databases of the bench's own on the server that the stack uses, gone afterwards."""

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote, urlsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from services.cli.stopping import finished


@asynccontextmanager
async def new_database(beside: str, *, tables_of: str | None = None) -> AsyncIterator[str]:
    """Yields the address of a new database, and drops it.

    Args:
        beside: The address of a database on the server.
        tables_of: The service whose tables it gets, by that service's migrations; none for an empty database.
    """
    name = f"innosystem_bench_{uuid4().hex}"
    url = on_server(beside, name)
    await _execute(beside, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        if tables_of is not None:
            await finished(asyncio.to_thread(_migrate, tables_of, url))
        yield url
    finally:
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        await finished(_execute(beside, drop))


def on_server(beside: str, name: str) -> str:
    """The address of another database on the server of one."""
    address = urlsplit(beside)
    query = f"?{address.query}" if address.query else ""
    return f"postgresql://{address.netloc}/{quote(name)}{query}"


async def _execute(url: str, statement: sql.Composed) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(statement)


def _migrate(service: str, url: str) -> None:
    from services.kit.migrations.tree import Migrations

    Migrations(service, url, importlib.import_module(f"services.{service}.models").metadata).up()
