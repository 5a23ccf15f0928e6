"""Statements of PostgreSQL that are executed often: compiled once, and executed by the driver directly.

Execution through SQLAlchemy costs more than twice the driver's (docs/adr/0017). Where that matters, it is bypassed;
SQLAlchemy still compiles the statement, and keeps the pool, transactions and the detection of lost connections.
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
        statement: The statement. Lists are passed as arrays (`services.kit.data.array_parameters`), not as `IN`.
        fresh: Whether the statement is planned at each execution: a cached plan fits the table at planning time, which
            may have been empty. For statements over long lists, whose cost dwarfs that of planning.

    Attributes:
        text: The SQL, with the driver's placeholders.
        operation: `select`, `insert`, `update` or `delete`; `other` if unknown.
    """

    def __init__(self, statement: ClauseElement, *, fresh: bool = False) -> None:
        compiled: Any = statement.compile(dialect=_DIALECT)
        self.text: str = compiled.string
        self.operation = next((one for one in _OPERATIONS if getattr(statement, f"is_{one}", False)), "other")
        # None leaves the decision to the driver, which prepares repeated statements.
        self.prepare = False if fresh else None
        processors = compiled._bind_processors
        self._fixed: dict[str, Any] = {}
        # The parameters of each execution: the name in the SQL, and the processor of the value.
        self._parameters: list[tuple[str, Any]] = []
        for bind, name in compiled.bind_names.items():
            process = processors.get(name)
            if bind.required:
                self._parameters.append((name, process))
            else:
                self._fixed[name] = bind.effective_value if process is None else process(bind.effective_value)

    def bound(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters for the driver.

        Raises:
            KeyError: If a parameter is missing; has its name.
        """
        bound = dict(self._fixed)
        for name, process in self._parameters:
            value = parameters[name]
            bound[name] = value if process is None else process(value)
        return bound


async def execute(connection: AsyncConnection, prepared: Prepared, parameters: Mapping[str, Any]) -> "Sequence[Row]":
    """Execute a statement in the connection's current transaction, which the driver begins if needed.

    Returns:
        The rows; none for a statement without rows.
    """
    cursor = await driver_of(connection).execute(prepared.text, prepared.bound(parameters), prepare=prepared.prepare)
    if cursor.pgresult is None or cursor.pgresult.status != ExecStatus.TUPLES_OK:
        return ()
    return await cursor.fetchall()


def driver_of(connection: AsyncConnection) -> DriverConnection[Row]:
    """Return the driver's connection below SQLAlchemy's."""
    below = connection.sync_connection
    if below is None or (pooled := below.connection).driver_connection is None:
        raise RuntimeError("the connection is not open")
    driver: DriverConnection[Row] = pooled.driver_connection
    return driver
