"""Databases of a command's own on the servers that `*_DATABASE_URL` name, beside what is there; gone afterwards."""

from collections.abc import Callable
from contextlib import ExitStack
from urllib.parse import quote, urlsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from services.cli.errors import CommandError


def own_database(variable: str, server: str, purpose: str, opened: ExitStack) -> str:
    """Make a database, and drop it when the stack is closed.

    Args:
        variable: The name of the setting that names the server, such as `JOBS_DATABASE_URL`.
        server: Its value, the address of a database there, which is not touched.
        purpose: What it is for; the name of the new one begins with it.
        opened: Drops it.

    Returns:
        The address of the new database.

    Raises:
        CommandError: The server can't be reached, or its role may not make databases.
    """
    address = urlsplit(server)
    query = f"?{address.query}" if address.query else ""
    name = f"innosystem_{purpose}_{uuid4().hex}"
    execute = _executor(f"postgresql://{address.netloc}{address.path}{query}", variable)
    execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    opened.callback(execute, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    return f"postgresql://{address.netloc}/{quote(name)}{query}"


def _executor(url: str, variable: str) -> Callable[[sql.Composed], None]:
    def execute(statement: sql.Composed) -> None:
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(statement)
        except psycopg.Error as error:
            # Nothing of the address: there may be a password in it.
            reason = " ".join(str(error).split())
            raise CommandError(
                f"can't make or drop a database on the server of {variable}: {reason} "
                f"(without {variable} a server is brought along)"
            ) from error

    return execute
