"""Steps of a migration that must not be one transaction. Each needs a revision of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from alembic import op
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import PendingRollbackError

_PASSES_MAX = 10


@contextmanager
def outside_transaction() -> Iterator[None]:
    """Run statements outside of a transaction, where PostgreSQL requires it or they take long; each commits by itself.

    For CREATE INDEX CONCURRENTLY and VALIDATE CONSTRAINT: neither holds up the traffic, so they may wait for locks and
    run for as long as they need. Through a pooler, limits cannot be set for them: those of the role or the database
    apply, which are none unless an operator has set some.

        with outside_transaction():
            op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_jobs_queue")  # an interrupted run leaves an invalid index
            op.create_index("ix_jobs_queue", "jobs", ["queue"], postgresql_concurrently=True)

    Raises:
        CommandError: If the revision has made changes before: an interruption would leave it half done.
    """
    with _step_of_its_own() as context:
        # Through a pooler, the next statement may run in another session.
        names = () if _pooled(context) else ("lock_timeout", "statement_timeout")
        for name in names:
            op.execute(f"SET {name} = 0")
        yield
        for name in names:
            op.execute(f"RESET {name}")


def in_batches(table: str, *, change: str, where: str, key: str = "id", rows: int = 1000) -> int:
    """Change the rows of a table in batches, with a commit after each: no row is locked for long.

        in_batches("jobs", change="queue = 'default'", where="queue IS NULL")

    After an interruption, a new run of the migration changes only the remaining rows, which `where` selects: `change`
    must make it false. The batches follow the key, and passes repeat until one finds nothing, because rows may be added
    in the meantime.

    Args:
        table: The name of the table.
        change: The assignments after SET.
        where: The condition of the rows that remain to be changed.
        key: A unique, indexed column.
        rows: How many rows are changed in one transaction.

    Returns:
        How many rows this run has changed.

    Raises:
        CommandError: If the revision has made changes before, a changed row still meets the condition, or new rows that
            meet it are added as fast as they are changed.
    """
    with _step_of_its_own() as context:
        if context.as_sql:
            context.impl.static_output(f"-- Repeat until no row is changed; at most {rows} rows each time:")
            op.execute(_batch(table, change, where, key, after=False).replace(":rows", str(rows)))
            return 0
        connection = op.get_bind()
        changed = 0
        for _ in range(_PASSES_MAX):
            found = _pass(connection, rows, lambda after: _batch(table, change, where, key, after=after))
            if not found:
                return changed
            changed += found
        raise CommandError(
            f"rows of {table} where {where} keep coming: deploy the release that writes the right values first"
        )


def _pass(connection: Connection, rows: int, batch: Callable[[bool], str]) -> int:
    """Walk through the table once and return the number of changed rows."""
    changed = 0
    found = _changed(connection, batch(False), rows=rows)
    while found.changed:
        if found.remaining:
            raise CommandError("a changed row still meets the condition: the migration would never end")
        changed += found.changed
        found = _changed(connection, batch(True), rows=rows, last=found.last)
    return changed


def _changed(connection: Connection, batch: str, **parameters: Any) -> Row[Any]:
    """Change a batch in a regular transaction, whose beginning sets the limits behind a pooler."""
    driver: Any = connection.connection.driver_connection
    driver.autocommit = False
    try:
        found = connection.execute(text(batch), parameters).one()
        connection.exec_driver_sql("COMMIT")
    finally:
        if not driver.closed:
            driver.rollback()
            driver.autocommit = True
    return found


def _batch(table: str, change: str, where: str, key: str, *, after: bool) -> str:
    later = f" AND {key} > :last" if after else ""
    return f"""WITH batch AS (
    SELECT {key} AS batch_key FROM {table} WHERE ({where}){later} ORDER BY {key} LIMIT :rows FOR UPDATE
), done AS (
    UPDATE {table} SET {change} FROM batch WHERE {table}.{key} = batch.batch_key
    RETURNING {table}.{key} AS done_key, ({where}) AS again
)
SELECT count(*) AS changed, count(*) FILTER (WHERE again) AS remaining,
    (array_agg(done_key ORDER BY done_key DESC))[1] AS last
FROM done"""  # noqa: S608 - the texts of a revision, which is code


def _pooled(context: MigrationContext) -> bool:
    return not context.as_sql and bool(op.get_bind().get_execution_options().get("pooled"))


@contextmanager
def _step_of_its_own() -> Iterator[MigrationContext]:
    context = op.get_context()
    if not context.as_sql and op.get_bind().scalar(text("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")):
        raise CommandError(
            "a step outside of transactions must be the first of its revision: an interruption would leave the "
            "earlier steps applied, and the revision not"
        )
    try:
        with context.autocommit_block():
            yield context
    except PendingRollbackError as error:
        # Alembic commits at the end of the block, even after the connection was lost, which hides the loss.
        raise (error.__context__ or error) from None
