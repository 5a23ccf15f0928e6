"""Steps of a migration that must not be one transaction. Each stands in a revision of its own."""

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
    """Runs what PostgreSQL refuses in a transaction, or what should not be one; each statement commits by itself.

    For CREATE INDEX CONCURRENTLY and VALIDATE CONSTRAINT: neither is in the way of the traffic, so they may wait for
    locks and run for as long as they need. Through a pooler nothing can be set for them: they have the limits of the
    role or the database, which are none unless an operator has set some.

        with outside_transaction():
            op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_jobs_queue")  # what an interrupted run left is not valid
            op.create_index("ix_jobs_queue", "jobs", ["queue"], postgresql_concurrently=True)

    Raises:
        CommandError: If the revision has changed something before: an interruption would leave it half done.
    """
    with _step_of_its_own() as context:
        # The session may be somebody else's with the next statement.
        names = () if _pooled(context) else ("lock_timeout", "statement_timeout")
        for name in names:
            op.execute(f"SET {name} = 0")
        yield
        for name in names:
            op.execute(f"RESET {name}")


def in_batches(table: str, *, change: str, where: str, key: str = "id", rows: int = 1000) -> int:
    """Changes the rows of a table a few at a time, and commits in between: no row is locked for long.

        in_batches("jobs", change="queue = 'default'", where="queue IS NULL")

    After an interruption the migration is run again, and only what is left is done: `where` tells it, so `change` has
    to make it false. The batches go along the key, and passes are made until one finds nothing, because rows come
    meanwhile.

    Args:
        table: Its name.
        change: What stands after SET.
        where: What is true for the rows that still have to be changed.
        key: A unique, indexed column.
        rows: How many are changed in one transaction.

    Returns:
        How many rows were changed by this run.

    Raises:
        CommandError: If the revision has changed something before, a changed row still has to be changed, or rows that
            have to be changed come as fast as they are.
    """
    with _step_of_its_own() as context:
        if context.as_sql:
            context.impl.static_output(f"-- Again and again, until no row is changed; at most {rows} rows each time:")
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
            f"rows of {table} where {where} keep coming: deploy first what writes them as they should be"
        )


def _pass(connection: Connection, rows: int, batch: Callable[[bool], str]) -> int:
    """Goes through the table once and answers how many rows were changed."""
    changed = 0
    found = _changed(connection, batch(False), rows=rows)
    while found.changed:
        if found.remaining:
            raise CommandError("a row still has to be changed after it was changed: this would go on for ever")
        changed += found.changed
        found = _changed(connection, batch(True), rows=rows, last=found.last)
    return changed


def _changed(connection: Connection, batch: str, **parameters: Any) -> Row[Any]:
    """Changes a batch in a transaction that begins as every other: through a pooler, limits come with that only."""
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
    # The texts are those of a revision, which is code.
    return f"""WITH batch AS (
    SELECT {key} AS batch_key FROM {table} WHERE ({where}){later} ORDER BY {key} LIMIT :rows FOR UPDATE
), done AS (
    UPDATE {table} SET {change} FROM batch WHERE {table}.{key} = batch.batch_key
    RETURNING {table}.{key} AS done_key, ({where}) AS again
)
SELECT count(*) AS changed, count(*) FILTER (WHERE again) AS remaining,
    (array_agg(done_key ORDER BY done_key DESC))[1] AS last
FROM done"""  # noqa: S608


def _pooled(context: MigrationContext) -> bool:
    return not context.as_sql and bool(op.get_bind().get_execution_options().get("pooled"))


@contextmanager
def _step_of_its_own() -> Iterator[MigrationContext]:
    context = op.get_context()
    if not context.as_sql and op.get_bind().scalar(text("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")):
        raise CommandError(
            "a step outside of transactions has to be the first of its revision: an interruption would leave what "
            "stands before it done, and the revision not"
        )
    try:
        with context.autocommit_block():
            yield context
    except PendingRollbackError as error:
        # Alembic commits when the block is left, also after the connection was lost, and that hides the loss.
        raise (error.__context__ or error) from None
