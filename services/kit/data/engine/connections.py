"""How a service's connections to its database are opened, checked and discarded."""

from time import monotonic
from typing import Any

import structlog
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from services.kit.data.dialects import dialect_named
from services.kit.data.engine.address import DatabaseAddress
from services.kit.data.errors import ConnectionFailed, DatabaseReadOnly, StatementOutdated
from services.kit.errors import DatabaseUnavailable
from services.kit.settings import DatabaseSettings

log = structlog.get_logger(__name__)

_PING_AFTER_SECONDS = 2.0


def open_pool(
    settings: DatabaseSettings, application_name: str, *, size: int, overflow: int, lifetime_seconds: float
) -> AsyncEngine:
    """Create a pool of connections to the database of the settings. Nothing is opened before the first use.

    Args:
        settings: Address and limits.
        application_name: The name that the server shows.
        size: How many connections are kept.
        overflow: How many more may be opened.
        lifetime_seconds: The age at which a connection is replaced.
    """
    url = make_url(settings.url.get_secret_value())
    dialect = dialect_named(url.get_backend_name())
    arguments = dialect.connect_args(settings, application_name)
    engine = create_async_engine(
        url.set(drivername=dialect.drivername),
        pool_size=size,
        max_overflow=overflow,
        pool_timeout=settings.pool_timeout_seconds,
        pool_recycle=lifetime_seconds,
        pool_use_lifo=True,
        # Options in the address take precedence, such as `?target_session_attrs=any`; limits come from the settings.
        connect_args={name: value for name, value in arguments.items() if name == "options" or name not in url.query},
    )
    dialect.prepare(engine.sync_engine)
    _ping_idle_connections(engine.sync_engine)
    translate_errors(engine.sync_engine)
    _Attempts(DatabaseAddress.of(url, settings.variable)).watch(engine.sync_engine)
    return engine


def translate_errors(engine: Engine) -> None:
    """Make SQLAlchemy raise the data layer's errors for the driver's, on statements, commits and connects."""
    if not event.contains(engine, "handle_error", _translated):
        event.listen(engine, "handle_error", _translated)


def _translated(context: ExceptionContext) -> BaseException | None:
    if context.is_pre_ping:
        # SQLAlchemy handles a failed ping: it replaces the connection.
        return None
    error = dialect_named(context.dialect.name).translate(context)
    if isinstance(error, StatementOutdated) or (isinstance(error, DatabaseReadOnly) and not _asked_for(context)):
        # All connections opened before share the problem: the pool replaces them, which resolves the address again.
        context.is_disconnect = True
    if error is None and context.connection is None:
        # No statement is at fault: the address is, such as an option in it that does not exist.
        return ConnectionFailed()
    return error


def _asked_for(context: ExceptionContext) -> bool:
    """Whether the transaction is read-only, and not the server."""
    if context.connection is None:
        return False
    options = dialect_named(context.dialect.name).transaction_options(None, read_only=True)
    given = context.connection.get_execution_options()
    return all(given.get(name) == value for name, value in options.items())


def _ping_idle_connections(engine: Engine) -> None:
    """Ping connections on checkout that were idle for a while.

    SQLAlchemy's own pre-ping pings on each checkout: a round trip and a commit for each transaction. A connection that
    was lost recently fails its next statement, and the pool then replaces all its connections.
    """

    def note(_: Any, record: ConnectionPoolEntry) -> None:
        record.info["used_at"] = monotonic()

    def check(connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
        if monotonic() - record.info["used_at"] > _PING_AFTER_SECONDS and not engine.dialect._do_ping_w_event(
            connection
        ):
            raise InvalidatePoolError("a connection did not respond to a ping")

    event.listen(engine, "connect", note)
    event.listen(engine, "checkin", note)
    event.listen(engine, "checkout", check)


class _Attempts:
    """The attempts to connect to a database. A failure is logged with the driver's reason, once for each reason."""

    def __init__(self, address: DatabaseAddress) -> None:
        self._address = address
        self._problem = ""

    def watch(self, engine: Engine) -> None:
        """Log the failures of an engine to connect, and complete their errors."""
        event.listen(engine, "handle_error", self._failed)
        event.listen(engine, "connect", self._opened)

    def _failed(self, context: ExceptionContext) -> None:
        if context.connection is not None:
            return
        problem = self._address.said(context.original_exception)
        # Only there if an earlier listener has replaced the error, which none does for a failed ping.
        replaced = getattr(context, "chained_exception", None)
        if isinstance(replaced, DatabaseUnavailable):
            replaced.where = str(self._address)
            replaced.said = problem
        if problem != self._problem:
            self._problem = problem
            log.warning("database_unreachable", error=problem, **self._address.fields)

    def _opened(self, _connection: Any, _record: ConnectionPoolEntry) -> None:
        if self._problem:
            self._problem = ""
            log.info("database_reached", **self._address.fields)
