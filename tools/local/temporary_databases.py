"""Temporary databases on the servers that `*_DATABASE_URL` name, beside the databases that are named there.

A killed command leaves its databases behind. Therefore it holds an advisory lock for each database, taken before the
database is created, and the next command drops the databases that have neither a lock nor a connection.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from services.kit.data.engine.address import DatabaseAddress
from services.kit.settings import check_database_url
from tools.errors import CommandError
from tools.local.environment import DatabaseServer
from tools.local.urls import for_libpq

# The first of the two numbers of a lock; the second is the hash of the database's name. pg_locks lists the locks of all
# databases of a server, so a command may look through any of them.
_LOCKS = "hashtext('innosystem own database')"
_TAKE = f"SELECT pg_advisory_lock({_LOCKS}, hashtext(%s))"
_LEFT = f"""
SELECT datname FROM pg_database d
WHERE datname ~ '^innosystem_(demo|bench)(_[a-z]+)?_[0-9a-f]{{32}}$' AND pg_has_role(datdba, 'USAGE')
    AND NOT EXISTS (
        SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2
            AND classid = CAST({_LOCKS} AS oid) AND objid = CAST(hashtext(d.datname) AS oid)
    )
    AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datname = d.datname)
"""  # noqa: S608 - a constant


def temporary_database(server: DatabaseServer, purpose: str, opened: ExitStack) -> str:
    """Create a database that is dropped when the stack is closed, and drop those that killed commands have left.

    Args:
        server: The server; the database that its address names is not touched.
        purpose: What the database is for, such as `demo_jobs` or `bench`; its name begins with this.
        opened: The stack that drops the database.

    Returns:
        The address of the new database.

    Raises:
        CommandError: The server is unreachable, or its role may not create databases.
    """
    try:
        check_database_url(server.url)
    except ValueError as error:
        raise CommandError(f"{server.variable} {error}") from None
    url = for_libpq(server.url)
    name = f"innosystem_{purpose}_{uuid4().hex}"
    with _named_failures(url, server.variable):
        keeping = opened.enter_context(psycopg.connect(url, autocommit=True))
        _remove_left(keeping)
        keeping.execute(_TAKE, [name])
        keeping.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    opened.callback(_drop, url, name, server.variable)
    return for_libpq(make_url(url).set(database=name))


def _remove_left(connection: psycopg.Connection) -> None:
    for (name,) in connection.execute(_LEFT).fetchall():
        try:
            # Without FORCE: a client that has connected meanwhile keeps the database.
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
        except psycopg.Error as error:
            sys.stderr.write(f"can't remove the database {name}, left by a killed command: {_line(error)}\n")
        else:
            sys.stderr.write(f"removed the database {name}, left by a killed command\n")


def _drop(url: str, name: str, variable: str) -> None:
    # Through a new connection: the one that holds the lock may have been lost meanwhile.
    with _named_failures(url, variable), psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def _named_failures(url: str, variable: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        address = DatabaseAddress.of(url, variable)
        raise CommandError(
            f"can't create or drop a database on the server of {address}: {address.said(error)} "
            f"(without {variable} an embedded server is used)"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
