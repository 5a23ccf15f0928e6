"""Statements of PostgreSQL that are executed often: compiled once, and executed by the driver itself.

SQLAlchemy's own way to execute a statement costs more than twice the driver's (docs/adr/0017). So it is left out where
that matters: what it compiles, its pool, its transactions and its view of lost connections stay.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection as DriverConnection
from psycopg.pq import ExecStatus
from sqlalchemy import ClauseElement, Dialect
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.ext.asyncio import AsyncConnection

Row = tuple[Any, ...]

_DIALECT: Dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]
_OPERATIONS = ("select", "insert", "update", "delete")


class Prepared:
    """A statement of SQLAlchemy Core or text.

    Args:
        statement: The statement. Lists are handed over as arrays (`services.kit.data.array_parameters`), not as `IN`.
        fresh: Whether it is planned at each execution: a plan that is kept was made for the table as it was then, which
            may have been empty. For statements over long lists, beside which planning costs nothing.

    Attributes:
        text: Its SQL, with the driver's placeholders.
        operation: `select`, `insert`, `update` or `delete`; `other` if that can't be told.
    """

    def __init__(self, statement: ClauseElement, *, fresh: bool = False) -> None:
        compiled: Any = statement.compile(dialect=_DIALECT)
        self.text: str = compiled.string
        self.operation = next((one for one in _OPERATIONS if getattr(statement, f"is_{one}", False)), "other")
        # None leaves it to the driver, which prepares what it meets again.
        self.prepare = False if fresh else None
        processors = compiled._bind_processors
        self._fixed: dict[str, Any] = {}
        # What is asked for at each execution: its name in the SQL, and what is done with the value.
        self._asked: list[tuple[str, Any]] = []
        for bind, name in compiled.bind_names.items():
            process = processors.get(name)
            if bind.required:
                self._asked.append((name, process))
            else:
                self._fixed[name] = bind.effective_value if process is None else process(bind.effective_value)

    def bound(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """What the driver gets.

        Raises:
            KeyError: Naming a parameter that is missing.
        """
        bound = dict(self._fixed)
        for name, process in self._asked:
            value = parameters[name]
            bound[name] = value if process is None else process(value)
        return bound


async def execute(connection: AsyncConnection, prepared: Prepared, parameters: Mapping[str, Any]) -> "Sequence[Row]":
    """Executes a statement in whatever transaction the connection is in; the driver begins it if need be.

    Returns:
        The rows, none where the statement answers none.
    """
    cursor = await driver_of(connection).execute(prepared.text, prepared.bound(parameters), prepare=prepared.prepare)
    if cursor.pgresult is None or cursor.pgresult.status != ExecStatus.TUPLES_OK:
        return ()
    return await cursor.fetchall()


def driver_of(connection: AsyncConnection) -> DriverConnection[Row]:
    """The driver's connection below SQLAlchemy's."""
    below = connection.sync_connection
    if below is None or (pooled := below.connection).driver_connection is None:
        raise RuntimeError("the connection is not open")
    driver: DriverConnection[Row] = pooled.driver_connection
    return driver
