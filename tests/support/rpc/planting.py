"""A copy of the services' databases in which anything can be planted, as a hand with all rights could do it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from sqlalchemy import MetaData, Table
from uuid_utils.compat import uuid7

from tests.support.rpc.mutations import Row, Wrong

# What keeps wrong values out, except for NOT NULL and primary keys. Foreign keys need the unique ones: they go first.
_CONSTRAINTS = """
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND contype IN ('f', 'c', 'u') ORDER BY contype <> 'f'
"""
_UNIQUE_INDEXES = """
SELECT format('DROP INDEX %s', indexrelid::regclass) FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
WHERE relnamespace = 'public'::regnamespace AND indisunique AND NOT indisprimary
"""
# Holds are judged when they have reached an age.
_AGE = "UPDATE holds SET created_at = created_at - interval '1 day'"


def copied(tables: MetaData, source_url: str, copy_url: str) -> None:
    """Copy all rows of a database to an empty one with the same tables, and take that one's guards away."""
    with psycopg.connect(source_url) as source, psycopg.connect(copy_url, autocommit=True) as copy:
        copy.execute("SET session_replication_role = replica")
        for table in tables.sorted_tables:
            name = sql.Identifier(table.name)
            # Some fire also for a replica.
            copy.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(name))
            with (
                source.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(name)) as out,
                copy.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(name)) as into,
            ):
                for data in out:
                    into.write(data)
        if "holds" in tables.tables:
            copy.execute(_AGE)
        for statements in (_CONSTRAINTS, _UNIQUE_INDEXES):
            for (statement,) in copy.execute(statements).fetchall():
                copy.execute(statement)


class Planting:
    """Changes rows of a table and puts them back, whatever guards it: one row at a time.

    Args:
        url: The database.
        table: The table.
    """

    def __init__(self, url: str, table: Table) -> None:
        self._connection = psycopg.connect(url, autocommit=True, row_factory=dict_row)
        self._connection.execute("SET session_replication_role = replica")
        self._name = sql.Identifier(table.name)
        self._key = next(iter(table.primary_key.columns)).name
        self._columns = [column.name for column in table.columns]

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def rows(self) -> list[Row]:
        """Read all rows, with all values as text."""
        texts = sql.SQL(", ").join(sql.SQL("{0}::text AS {0}").format(sql.Identifier(name)) for name in self._columns)
        # In the order in which the services wrote them: the same rows are made wrong each time.
        order = "created_at" if "created_at" in self._columns else self._key
        query = sql.SQL("SELECT {} FROM {} ORDER BY {}").format(texts, self._name, sql.Identifier(order))
        return self._connection.execute(query).fetchall()

    @contextmanager
    def changed(self, row: Row, wrong: Wrong) -> Iterator[None]:
        """Plant a wrong value, and put the row back."""
        self._set(row[self._key], {wrong.column: wrong.value})
        yield
        self._set(wrong.value if wrong.column == self._key else row[self._key], {wrong.column: row[wrong.column]})

    @contextmanager
    def deleted(self, row: Row) -> Iterator[None]:
        """Delete a row, and put it back."""
        self._delete(row[self._key])
        yield
        self._insert(row)

    @contextmanager
    def doubled(self, row: Row) -> Iterator[None]:
        """Store a row once more under another key, and delete that."""
        copy = {**row, self._key: str(uuid7())}
        self._insert(copy)
        yield
        self._delete(copy[self._key])

    def _set(self, key: str | None, values: Row) -> None:
        [(column, value)] = values.items()
        statement = sql.SQL("UPDATE {} SET {} = {} WHERE {} = {}").format(
            self._name, sql.Identifier(column), sql.Literal(value), sql.Identifier(self._key), sql.Literal(key)
        )
        assert self._connection.execute(statement).rowcount == 1

    def _insert(self, values: Mapping[str, str | None]) -> None:
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            self._name,
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(map(sql.Literal, values.values())),
        )
        self._connection.execute(statement)

    def _delete(self, key: str | None) -> None:
        statement = sql.SQL("DELETE FROM {} WHERE {} = {}").format(
            self._name, sql.Identifier(self._key), sql.Literal(key)
        )
        assert self._connection.execute(statement).rowcount == 1
