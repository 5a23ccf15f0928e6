"""Databases of a command's own on the servers that `*_DATABASE_URL` name, beside what is there; gone afterwards.

A command that is killed leaves them. So it keeps an advisory lock for each, taken before there is the database, and the
next one removes those that nobody has a lock for, and nobody is connected to.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import quote, urlsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from tools.errors import CommandError

# The first of the two numbers of the locks; the second is made of the name of the database. The locks of all databases
# of a server are in pg_locks, so it does not matter through which one a command looks.
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


def own_database(variable: str, server: str, purpose: str, opened: ExitStack) -> str:
    """Make a database, and drop it when the stack is closed. Those that killed commands have left are dropped now.

    Args:
        variable: The name of the setting that names the server, such as `JOBS_DATABASE_URL`.
        server: Its value, the address of a database there, which is not touched.
        purpose: What it is for, `demo` or `bench`; the name of the new one begins with it.
        opened: Drops it.

    Returns:
        The address of the new database.

    Raises:
        CommandError: The server can't be reached, or its role may not make databases.
    """
    address = urlsplit(server)
    query = f"?{address.query}" if address.query else ""
    url = f"postgresql://{address.netloc}{address.path}{query}"
    name = f"innosystem_{purpose}_{uuid4().hex}"
    with _named_failures(variable):
        keeping = opened.enter_context(psycopg.connect(url, autocommit=True))
        _remove_left(keeping)
        keeping.execute(_TAKE, [name])
        keeping.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    opened.callback(_drop, url, name, variable)
    return f"postgresql://{address.netloc}/{quote(name)}{query}"


def _remove_left(connection: psycopg.Connection) -> None:
    for (name,) in connection.execute(_LEFT).fetchall():
        try:
            # Without FORCE: whoever is connected after all keeps it.
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
        except psycopg.Error as error:
            sys.stderr.write(f"the database {name}, which a killed command has left, stays: {_line(error)}\n")
        else:
            sys.stderr.write(f"removed the database {name}, which a killed command has left\n")


def _drop(url: str, name: str, variable: str) -> None:
    # By a connection of its own: the one that keeps the lock may have been lost meanwhile.
    with _named_failures(variable), psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def _named_failures(variable: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        # Nothing of the address: there may be a password in it.
        raise CommandError(
            f"can't make or drop a database on the server of {variable}: {_line(error)} "
            f"(without {variable} a server is brought along)"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
