"""A service's database: its pool of connections, its health, and the transactions on them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from time import perf_counter
from typing import Any, NoReturn, Self

from sqlalchemy import Connection, text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncTransaction
from sqlalchemy.pool import QueuePool

from services.kit.data.dialects import Dialect, dialect_named
from services.kit.data.engine.connections import open_pool, translate_errors
from services.kit.data.engine.observation import Statements, observe
from services.kit.data.engine.prepared import Prepared, Row, driver_of, execute
from services.kit.data.engine.probe import Probe
from services.kit.data.errors import ConnectionFailed, TimedOut
from services.kit.settings import DatabaseSettings

# The probe's connection is replaced this often, which resolves the address again.
_PROBE_LIFETIME_SECONDS = 30.0
# Less than a health check may take, which would otherwise end without the reason of a server that does not respond.
_PROBE_CONNECT_SECONDS = 2.0


class Database:
    """The pool of connections of one service. Nothing is opened before the first use.

    A service's `__main__` creates it from its settings; tests may create one on a single connection (`on_connection`),
    whose outer transaction they roll back, without any difference for the code under test.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        connection: AsyncConnection | None = None,
        connections_max: int = 1,
        statements: Statements | None = None,
        probe: Probe | None = None,
    ) -> None:
        self._engine = engine
        self._probe = probe
        self._statements = statements
        self._connections_max = connections_max
        self._connection = connection
        self.dialect: Dialect = dialect_named(engine.dialect.name)
        translate_errors(engine.sync_engine)

    @classmethod
    def connect(cls, settings: DatabaseSettings, *, application_name: str) -> Self:
        """Create the pool of the settings.

        Args:
            settings: Address, pool size and limits.
            application_name: The name in `pg_stat_activity`, such as `innosystem-jobs`.
        """
        engine = open_pool(
            settings,
            application_name,
            size=settings.pool_size,
            overflow=settings.max_overflow,
            lifetime_seconds=settings.connection_lifetime_seconds,
        )
        prompt = settings.model_copy(
            update={"connect_timeout_seconds": min(settings.connect_timeout_seconds, _PROBE_CONNECT_SECONDS)}
        )
        apart = open_pool(prompt, application_name, size=1, overflow=0, lifetime_seconds=_PROBE_LIFETIME_SECONDS)
        probe = Probe(apart, settings, application_name)
        connections_max = settings.pool_size + settings.max_overflow
        statements = observe(engine, database=application_name, slow_query_seconds=settings.slow_query_seconds)
        return cls(engine, connections_max=connections_max, statements=statements, probe=probe)

    @classmethod
    def on_connection(cls, connection: AsyncConnection) -> Self:
        """Create a database whose transactions are savepoints of the connection's open transaction."""
        return cls(connection.engine, connection)

    @property
    def has_free_connection(self) -> bool:
        """Whether a connection is available without waiting for another one to be returned."""
        pool = self._engine.pool
        return not isinstance(pool, QueuePool) or pool.checkedout() < self._connections_max

    @asynccontextmanager
    async def transaction(
        self, *, isolation: str | None = None, read_only: bool = False
    ) -> AsyncIterator[AsyncTransaction]:
        """Yield a transaction on a connection of the pool, which is rolled back unless the block commits it.

        Args:
            isolation: The isolation level; None for the database's default.
            read_only: Whether the database refuses changes.

        Raises:
            ConnectionFailed: If the database cannot be reached. After a loss during a commit, the commit may have taken
                effect.
            TimedOut: If no connection became free, or a statement took too long (`TooCostly`).
            LockTimedOut: If another transaction kept a lock for too long.
            ConstraintViolated: If a constraint refused a change.
            Conflict: If another transaction conflicted.
        """
        if self._connection is None:
            options = self.dialect.transaction_options(isolation, read_only=read_only)
            async with self._checked_out(options) as connection:
                # Returning a connection to the pool rolls back what is open on it.
                yield await connection.begin()
            return
        transaction = await self._connection.begin_nested()
        try:
            yield transaction
        finally:
            if transaction.is_active:
                await transaction.rollback()

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection of the pool on which each statement commits by itself; errors as for `transaction`."""
        if self._connection is None:
            async with self._checked_out({"isolation_level": "AUTOCOMMIT"}) as connection:
                yield connection
        else:
            yield self._connection

    @asynccontextmanager
    async def _checked_out(self, options: dict[str, Any]) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.connect() as connection:
                yield (await _with_options(connection, options)) if options else connection
        except PoolTimeoutError as error:
            raise TimedOut from error

    async def execute(
        self, connection: AsyncConnection, prepared: Prepared, parameters: Mapping[str, Any]
    ) -> Sequence[Row]:
        """Execute a prepared statement on a connection that was yielded; errors as for `transaction`.

        Returns:
            The rows; none for a statement without rows.
        """
        began_at, rows, failure = perf_counter(), None, {}
        try:
            result = await execute(connection, prepared, parameters)
            rows = len(result)
        except BaseException as error:
            failure = {"error": type(error).__name__}
            await connection.run_sync(_handle, error, prepared.text)
            raise
        finally:
            if self._statements is not None:
                self._statements.executed(prepared.text, prepared.operation, perf_counter() - began_at, rows, **failure)
        return result

    async def commit(self, transaction: AsyncTransaction) -> None:
        """Commit a transaction that was yielded; errors as for `transaction`."""
        connection = transaction.connection
        if self._connection is not None or not self.dialect.commits_by_driver:
            await transaction.commit()
            return
        try:
            # SQLAlchemy finds nothing to roll back when the connection returns to the pool.
            await driver_of(connection).commit()
        except BaseException as error:
            await connection.run_sync(_handle, error, "COMMIT")
            raise

    async def check(self) -> None:
        """Check that the database works, on a connection beside the pool; for health checks.

        Raises:
            DatabaseUnavailable: If it does not respond, or refuses changes.
            StartupError: If the limits of the settings do not reach it.
        """
        if self._probe is not None:
            await self._probe.check()
            return
        async with self.transaction() as transaction:
            await transaction.connection.execute(text("SELECT 1"))

    def time(self) -> datetime | None:
        """Return the database's time, extrapolated from the last `check` without a round trip; None before that."""
        return self._probe.clock() if self._probe is not None else None

    def now(self) -> datetime:
        """Return the database's time.

        Raises:
            ConnectionFailed: If it is unknown, because `check` never succeeded.
        """
        if (time := self.time()) is None:
            raise ConnectionFailed
        return time

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()
        if self._probe is not None:
            await self._probe.close()


async def _with_options(connection: AsyncConnection, options: Mapping[str, Any]) -> AsyncConnection:
    """Return a connection with options, which SQLAlchemy takes back when it returns to the pool.

    A cancellation may come when the driver has an option already, and SQLAlchemy does not know that yet. Such a
    connection is discarded: its next user would get a transaction that is read-only, or none at all.
    """
    try:
        return await connection.execution_options(**options)
    except BaseException:
        await connection.invalidate()
        raise


def _handle(connection: Connection, failure: BaseException, statement: str) -> NoReturn:
    """Handle a failure as SQLAlchemy would: raise the data layer's error, discard a lost connection.

    An interrupted connection is discarded as well: its next response may belong to the interrupted statement.
    """
    try:
        raise failure
    except BaseException as error:  # noqa: BLE001 - SQLAlchemy raises it again, or its translation
        connection._handle_dbapi_exception(error, statement, None, None, None)
