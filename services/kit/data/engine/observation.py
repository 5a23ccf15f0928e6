"""Metrics of a database's pool and statements, and log lines of slow statements."""

from collections import Counter as Sums
from collections.abc import Iterator
from time import perf_counter
from typing import Any
from weakref import ReferenceType, ref

import structlog
from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

log = structlog.get_logger(__name__)

_STATEMENT_CHARACTERS_MAX = 2000
_OPERATIONS = ("select", "insert", "update", "delete")
_OTHER = "other"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_WAITS = Histogram(
    "innosystem_db_connection_wait_seconds",
    "Time from the request for a connection to its checkout or the timeout, including opening and checking it.",
    ["database"],
    buckets=_SECONDS,
)
_TIMEOUTS = Counter("innosystem_db_connection_timeouts", "Requests for a connection that timed out.", ["database"])
_OPENED = Counter("innosystem_db_connections_opened", "Connections opened.", ["database"])
_CLOSED = Counter("innosystem_db_connections_closed", "Connections closed, for any reason.", ["database"])
_INVALIDATED = Counter(
    "innosystem_db_connections_invalidated",
    "Connections discarded because they were lost, or because their user was cancelled.",
    ["database"],
)
_DURATIONS = Histogram(
    "innosystem_db_statement_duration_seconds",
    "How long statements took until their response arrived, including failed ones.",
    ["database", "operation"],
    buckets=_SECONDS,
)
_SLOW = Counter("innosystem_db_slow_queries", "Statements that took longer than the threshold.", ["database"])


def observe(engine: AsyncEngine, *, database: str, slow_query_seconds: float) -> "Statements":
    """Measure an engine from now on, and log its slow statements as warnings.

    Args:
        engine: The engine, with an unused pool: connections that are already open are not counted as opened.
        database: The label of the metrics, such as `jobs`.
        slow_query_seconds: A slower statement is logged, without its parameters, which may be secrets.

    Returns:
        The observer, which also takes statements that the engine does not execute itself.
    """
    sync_engine = engine.sync_engine
    _POOLS.add(sync_engine, database)
    _count_connections(sync_engine, database)
    _time_waits(sync_engine, database)
    statements = Statements(database, slow_query_seconds)
    event.listen(sync_engine, "before_cursor_execute", statements.begin)
    event.listen(sync_engine, "after_cursor_execute", statements.end)
    event.listen(sync_engine, "handle_error", statements.fail)
    return statements


class Statements:
    """The timing of an engine's statements. SQLAlchemy's execution context of each statement keeps its start."""

    def __init__(self, database: str, slow_query_seconds: float) -> None:
        self._database = database
        self._slow_query_seconds = slow_query_seconds
        # Looking up a child by its labels costs as much as an observation.
        self._durations = {one: _DURATIONS.labels(database, one) for one in (*_OPERATIONS, _OTHER)}
        self._slow = _SLOW.labels(database)

    def begin(
        self, _connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool
    ) -> None:
        """Handle SQLAlchemy's event of a statement's start."""
        context.began_at = perf_counter()

    def end(self, _connection: Any, cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        """Handle SQLAlchemy's event of a statement's response."""
        self._ended(statement, context, cursor)

    def fail(self, failure: ExceptionContext) -> None:
        """Handle SQLAlchemy's event of a statement's failure."""
        # Statements that timed out, or whose caller was cancelled, are often the slow ones.
        if failure.statement is not None and failure.execution_context is not None:
            error = type(failure.original_exception).__name__
            self._ended(failure.statement, failure.execution_context, None, error=error)

    def _ended(self, statement: str, context: Any, cursor: Any, **more: str) -> None:
        began_at = getattr(context, "began_at", None)
        if began_at is None:
            return
        # A later error, while rows are fetched, belongs to a statement that was counted already.
        context.began_at = None
        rows = cursor.rowcount if cursor is not None and cursor.rowcount >= 0 else None
        self.executed(statement, _operation(statement, context), perf_counter() - began_at, rows, **more)

    def executed(self, statement: str, operation: str, seconds: float, rows: int | None, **more: str) -> None:
        """Record a statement.

        Args:
            statement: The SQL.
            operation: The kind, such as `select`.
            seconds: The duration.
            rows: How many rows were returned or changed; None if unknown.
            more: More fields for the log line of a slow statement.
        """
        self._durations[operation].observe(seconds)
        if seconds > self._slow_query_seconds:
            self._slow.inc()
            log.warning(
                "slow_query",
                database=self._database,
                operation=operation,
                duration_ms=round(seconds * 1000, 1),
                rows=rows,
                statement=statement[:_STATEMENT_CHARACTERS_MAX],
                **more,
            )


def _operation(statement: str, context: Any) -> str:
    # All four keywords have six letters.
    word = statement.lstrip()[:6].lower()
    if word in _OPERATIONS:
        return word
    # WITH may begin any of them. Statements written as text stay unknown.
    invoked = context.invoked_statement
    return next((one for one in _OPERATIONS if getattr(invoked, f"is_{one}", False)), _OTHER)


def _count_connections(engine: Engine, database: str) -> None:
    opened, closed, invalidated = (one.labels(database) for one in (_OPENED, _CLOSED, _INVALIDATED))
    # The successor of a disposed pool inherits its listeners.
    event.listen(engine.pool, "connect", lambda *_: opened.inc())
    event.listen(engine.pool, "close", lambda *_: closed.inc())
    event.listen(engine.pool, "close_detached", lambda *_: closed.inc())
    event.listen(engine.pool, "invalidate", lambda *_: invalidated.inc())
    event.listen(engine.pool, "soft_invalidate", lambda *_: invalidated.inc())


def _time_waits(engine: Engine, database: str) -> None:
    waits, timeouts = _WAITS.labels(database), _TIMEOUTS.labels(database)
    connect = engine.raw_connection

    def timed() -> PoolProxiedConnection:
        began_at = perf_counter()
        try:
            return connect()
        except PoolTimeoutError:
            timeouts.inc()
            raise
        finally:
            waits.observe(perf_counter() - began_at)

    # SQLAlchemy has an event for a checkout, and none for a request or a timeout.
    engine.raw_connection = timed  # type: ignore[method-assign]


class _Pools(Collector):
    """A collector that reads pools when metrics are scraped, and holds only weak references to engines."""

    def __init__(self) -> None:
        # A list, because it may be read in another thread while it grows.
        self._engines: list[tuple[str, ReferenceType[Engine]]] = []

    def add(self, engine: Engine, database: str) -> None:
        self._engines = [(name, one) for name, one in self._engines if one() is not None] + [(database, ref(engine))]

    def collect(self) -> Iterator[Metric]:
        sizes: Sums[str] = Sums()
        checked_out: Sums[str] = Sums()
        overflow: Sums[str] = Sums()
        for database, reference in self._engines:
            engine = reference()
            if engine is not None and isinstance(engine.pool, QueuePool):
                sizes[database] += engine.pool.size()
                checked_out[database] += engine.pool.checkedout()
                # Negative until the pool has its full size.
                overflow[database] += max(0, engine.pool.overflow())
        yield _gauge("innosystem_db_pool_size", "Connections that the pool keeps when it is full.", sizes)
        yield _gauge("innosystem_db_pool_checked_out", "Connections in use.", checked_out)
        yield _gauge("innosystem_db_pool_overflow", "Open connections beyond the pool's size.", overflow)


def _gauge(name: str, documentation: str, values: Sums[str]) -> Metric:
    family = GaugeMetricFamily(name, documentation, labels=["database"])
    for database, value in values.items():
        family.add_metric([database], value)
    return family


_POOLS = _Pools()
REGISTRY.register(_POOLS)
