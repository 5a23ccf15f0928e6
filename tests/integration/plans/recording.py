"""The statements that the repositories send, and PostgreSQL's plans for them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, LiteralString

import psycopg
from sqlalchemy import event

from services.kit.data.engine.database import Database
from services.kit.data.engine.prepared import Prepared, Row
from services.kit.data.transactions.sql import SqlTransactions


class RecordedTransactions(SqlTransactions):
    """Transactions that also record prepared statements, which bypass SQLAlchemy."""

    def __init__(self, database: Database, note: Callable[[str, Any], None]) -> None:
        super().__init__(database)
        self._note = note

    async def execute(self, prepared: Prepared, parameters: Mapping[str, Any]) -> Sequence[Row]:
        self._note(prepared.text, prepared.bound(parameters))
        return await super().execute(prepared, parameters)


class Recorded:
    """A database whose statements are recorded, and the plans that it has for them."""

    def __init__(self, url: str, database: Database) -> None:
        self.transactions = RecordedTransactions(database, self._note)
        self._url = url
        self._statements: dict[str, list[tuple[str, Any]]] = {}
        self._name = ""
        engine = database._engine.sync_engine
        event.listen(engine, "before_cursor_execute", self._record)

    def _record(self, _connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        # Of many rows that one statement is executed for the first will do.
        self._note(statement, parameters[0] if isinstance(parameters, list) else parameters)

    def _note(self, statement: str, parameters: Any) -> None:
        self._statements[self._name].append((statement, parameters))

    async def call(self, name: str, work: Callable[[], Awaitable[Any]]) -> Any:
        """Do something in a transaction that is rolled back, and record its statements under a name."""
        self._name = name
        self._statements.setdefault(name, [])
        async with self.transactions.begin() as transaction:
            transaction.roll_back()
            return await work()

    def execute(self, statement: LiteralString) -> None:
        """Execute a statement that is not recorded, and commit."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement)

    def plans(self, name: str) -> list[dict[str, Any]]:
        """The plans of the statements recorded under a name."""
        with psycopg.connect(self._url) as connection:
            return [
                connection.execute(f"EXPLAIN (FORMAT JSON) {statement}".encode(), parameters).fetchall()[0][0][0][
                    "Plan"
                ]
                for statement, parameters in self._statements[name]
            ]

    def indexes(self) -> dict[str, set[str]]:
        """The indexes that each recorded piece of work uses; a table read whole is in it as `all of TABLE`."""
        found: dict[str, set[str]] = {}
        with psycopg.connect(self._url) as connection:
            for name, statements in self._statements.items():
                found[name] = set()
                for statement, parameters in statements:
                    cursor = connection.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
                    row = cursor.fetchone()
                    assert row is not None
                    collect_indexes(row[0][0]["Plan"], found[name])
        return found

    def all_indexes(self) -> set[str]:
        """The indexes of the database's tables."""
        with psycopg.connect(self._url) as connection:
            rows = connection.execute(
                "SELECT indexname FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
            ).fetchall()
        return {name for (name,) in rows}


def collect_indexes(plan: dict[str, Any], found: set[str]) -> None:
    """Add the indexes that a plan uses, and the tables that it reads whole."""
    if plan["Node Type"] == "Seq Scan":
        found.add(f"all of {plan['Relation Name']}")
    if "Index Name" in plan:
        found.add(plan["Index Name"])
    for part in plan.get("Plans", ()):
        collect_indexes(part, found)
