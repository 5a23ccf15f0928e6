"""Everything that depends on the kind of database: PostgreSQL, SQLite or MariaDB.

The services are written for PostgreSQL. The toolkit below them (database, transactions, repositories, queries) is
independent of it: where databases differ, it calls the `Dialect` of the connection. `types` has column types that hold
the same values everywhere. docs/data-layer.md lists the differences; tests/dialects proves the rest equal.
"""

from services.kit.data.dialects.dialect import Dialect
from services.kit.data.dialects.mariadb import MariaDb
from services.kit.data.dialects.postgresql import PostgreSql
from services.kit.data.dialects.sqlite import Sqlite

__all__ = ["DIALECTS", "MARIADB", "POSTGRESQL", "SQLITE", "Dialect", "dialect_named"]

POSTGRESQL = PostgreSql()
SQLITE = Sqlite()
MARIADB = MariaDb()

DIALECTS: tuple[Dialect, ...] = (POSTGRESQL, SQLITE, MARIADB)

_BY_NAME: dict[str, Dialect] = {"postgres": POSTGRESQL, **{one.name: one for one in DIALECTS}}


def dialect_named(name: str) -> Dialect:
    """Return the dialect for a URL's scheme, without the driver, or for the name of SQLAlchemy's dialect.

    Raises:
        ValueError: If no dialect has this name.
    """
    found = _BY_NAME.get(name)
    if found is None:
        raise ValueError(f"unknown database {name!r}: expected one of {', '.join(one.name for one in DIALECTS)}")
    return found
