"""All that depends on which database it is: PostgreSQL, SQLite or MariaDB.

The services are written for PostgreSQL. The toolkit below them (database, transactions, repositories, queries) is not:
it asks the `Dialect` of the connection where databases differ, and names none itself. `types` has columns that hold the
same values everywhere. docs/data-layer.md lists what differs; tests/dialects proves the rest equal.
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
    """The dialect of a URL's scheme, without the driver, or of SQLAlchemy's dialect.

    Raises:
        ValueError: If there is none of this name.
    """
    found = _BY_NAME.get(name)
    if found is None:
        raise ValueError(f"the toolkit does not know {name!r}: it knows {', '.join(one.name for one in DIALECTS)}")
    return found
