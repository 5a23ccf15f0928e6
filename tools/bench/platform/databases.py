"""Databases of the bench's own on the server that the stack uses, gone afterwards."""

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from tools.local.own_databases import own_database
from tools.local.stopping import finished


@asynccontextmanager
async def new_database(beside: str, *, tables_of: str | None = None) -> AsyncIterator[str]:
    """Yields the address of a new database, and drops it.

    Args:
        beside: The address of a database on the server.
        tables_of: The service whose tables it gets, by that service's migrations; none for an empty database.
    """
    opened = ExitStack()
    try:
        variable = f"{(tables_of or 'jobs').upper()}_DATABASE_URL"
        url = await finished(asyncio.to_thread(own_database, variable, beside, "bench", opened))
        if tables_of is not None:
            await finished(asyncio.to_thread(_migrate, tables_of, url))
        yield url
    finally:
        await finished(asyncio.to_thread(opened.close))


def _migrate(service: str, url: str) -> None:
    from services.kit.migrations.tree import Migrations

    Migrations(service, url, importlib.import_module(f"services.{service}.store.tables").metadata).up()
