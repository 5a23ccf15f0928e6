"""A service's database: its pool of connections, its health, and the transactions on them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from time import monotonic, perf_counter
from typing import Any, NoReturn, Self

from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncTransaction,
    create_async_engine,
)
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from services.kit.data.dialects import Dialect, dialect_named
from services.kit.data.errors import TimedOut
from services.kit.data.observation import Statements, observe
from services.kit.data.prepared import Prepared, Row, driver_of, execute
from services.kit.settings import DatabaseSettings

_PING_AFTER_SECONDS = 2.0


class Database:
    """The pool of connections of one service. Nothing is opened before the first use.

    Made by a service's `__main__` from its settings; tests may make one on a single connection (`on_connection`), whose
    outer transaction they roll back: the code under test sees no difference.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        connection: AsyncConnection | None = None,
        connections_max: int = 1,
        statements: Statements | None = None,
    ) -> None:
        self._engine = engine
        self._statements = statements
        self._connections_max = connections_max
        self._connection = connection
        self.dialect: Dialect = dialect_named(engine.dialect.name)
        if not event.contains(engine.sync_engine, "handle_error", _translated):
            event.listen(engine.sync_engine, "handle_error", _translated)

    @classmethod
    def connect(cls, settings: DatabaseSettings, *, application_name: str) -> Self:
        """Makes the pool that the settings describe.

        Args:
            settings: Address, pool size and limits.
            application_name: What `pg_stat_activity` shows, such as `innosystem-jobs`.
        """
        url = make_url(settings.url.get_secret_value())
        dialect = dialect_named(url.get_backend_name())
        engine = create_async_engine(
            url.set(drivername=dialect.drivername),
            pool_size=settings.pool_size,
            max_overflow=settings.max_overflow,
            pool_timeout=settings.pool_timeout_seconds,
            pool_recycle=settings.connection_lifetime_seconds,
            pool_use_lifo=True,
            connect_args=dialect.connect_args(settings, application_name),
        )
        dialect.prepare(engine.sync_engine)
        _ping_idle_connections(engine.sync_engine)
        connections_max = settings.pool_size + settings.max_overflow
        statements = observe(engine, database=application_name, slow_query_seconds=settings.slow_query_seconds)
        return cls(engine, connections_max=connections_max, statements=statements)

    @classmethod
    def on_connection(cls, connection: AsyncConnection) -> Self:
        """Makes a database whose transactions are savepoints of the connection's open transaction."""
        return cls(connection.engine, connection)

    @property
    def has_free_connection(self) -> bool:
        """Whether a connection can be had without waiting for somebody to give one back."""
        pool = self._engine.pool
        return not isinstance(pool, QueuePool) or pool.checkedout() < self._connections_max

    @asynccontextmanager
    async def transaction(
        self, *, isolation: str | None = None, read_only: bool = False
    ) -> AsyncIterator[AsyncTransaction]:
        """Yields a transaction on a connection of the pool, which is rolled back unless the block commits it.

        Args:
            isolation: The isolation level; None for the database's default.
            read_only: Whether the database refuses changes.

        Raises:
            ConnectionFailed: If the database can't be reached. If it was lost in a commit, it is not known whether that
                took effect.
            TimedOut: If no connection became free, or a statement took too long (`TooCostly`).
            LockTimedOut: If another transaction kept a lock for too long.
            ConstraintViolated: If a constraint refused a change.
            Conflict: If another transaction was in the way.
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
        """Yields a connection of the pool on which each statement commits by itself; errors as for `transaction`."""
        if self._connection is None:
            async with self._checked_out({"isolation_level": "AUTOCOMMIT"}) as connection:
                yield connection
        else:
            yield self._connection

    @asynccontextmanager
    async def _checked_out(self, options: dict[str, Any]) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.connect() as connection:
                yield (await connection.execution_options(**options)) if options else connection
        except PoolTimeoutError as error:
            raise TimedOut from error

    async def execute(
        self, connection: AsyncConnection, prepared: Prepared, parameters: Mapping[str, Any]
    ) -> Sequence[Row]:
        """Executes a prepared statement on a connection that was yielded; errors as for `transaction`.

        Returns:
            The rows, none where the statement answers none.
        """
        began_at, rows, failure = perf_counter(), None, {}
        try:
            answered = await execute(connection, prepared, parameters)
            rows = len(answered)
        except BaseException as error:
            failure = {"error": type(error).__name__}
            await connection.run_sync(_handle, error, prepared.text)
            raise
        finally:
            if self._statements is not None:
                self._statements.executed(prepared.text, prepared.operation, perf_counter() - began_at, rows, **failure)
        return answered

    async def commit(self, transaction: AsyncTransaction) -> None:
        """Commits a transaction that was yielded; errors as for `transaction`."""
        connection = transaction.connection
        if self._connection is not None or not self.dialect.commits_by_driver:
            await transaction.commit()
            return
        try:
            # SQLAlchemy finds nothing to roll back when the connection goes back to the pool.
            await driver_of(connection).commit()
        except BaseException as error:
            await connection.run_sync(_handle, error, "COMMIT")
            raise

    async def check(self) -> None:
        """Asks the database for a sign of life; for health checks.

        Raises:
            DatabaseUnavailable: If it gives none.
        """
        async with self.transaction() as transaction:
            await transaction.connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Closes all connections."""
        await self._engine.dispose()


def _ping_idle_connections(engine: Engine) -> None:
    """Has a connection that nobody has used for a while asked for a sign of life before it is handed out.

    SQLAlchemy's own pre-ping asks each time: a round trip and a commit a transaction. One that was lost just now
    is found by its next statement, and all others of the pool are then opened anew.
    """

    def note(_: Any, record: ConnectionPoolEntry) -> None:
        record.info["used_at"] = monotonic()

    def check(connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
        if monotonic() - record.info["used_at"] > _PING_AFTER_SECONDS and not engine.dialect._do_ping_w_event(
            connection
        ):
            raise InvalidatePoolError("a connection did not answer a ping")

    event.listen(engine, "connect", note)
    event.listen(engine, "checkin", note)
    event.listen(engine, "checkout", check)


def _handle(connection: Connection, failure: BaseException, statement: str) -> NoReturn:
    """Does what SQLAlchemy does when one of its own statements fails: our error is raised, a lost connection given up.

    What was interrupted is given up as well: nobody knows what its connection would answer next.
    """
    try:
        raise failure
    except BaseException as error:  # noqa: BLE001 - SQLAlchemy raises it again, or ours
        connection._handle_dbapi_exception(error, statement, None, None, None)


def _translated(context: ExceptionContext) -> BaseException | None:
    """Has SQLAlchemy raise our error in place of the driver's, wherever it arises: statement, commit or connect."""
    # A ping that fails is SQLAlchemy's own affair: it replaces the connection.
    return None if context.is_pre_ping else dialect_named(context.dialect.name).translate(context)
