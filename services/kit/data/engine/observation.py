"""What Prometheus and the log get to know about a database: its pool, its statements, and which of them are slow."""

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
    "From asking for a connection to having it or giving up; opening and checking it included.",
    ["database"],
    buckets=_SECONDS,
)
_TIMEOUTS = Counter(
    "innosystem_db_connection_timeouts", "Requests for a connection given up because none became free.", ["database"]
)
_OPENED = Counter("innosystem_db_connections_opened", "Connections opened.", ["database"])
_CLOSED = Counter("innosystem_db_connections_closed", "Connections closed, for whatever reason.", ["database"])
_INVALIDATED = Counter(
    "innosystem_db_connections_invalidated",
    "Connections given up because they were lost, or because what used them was cancelled.",
    ["database"],
)
_DURATIONS = Histogram(
    "innosystem_db_statement_duration_seconds",
    "How long statements took until their answer was there, failed ones as well.",
    ["database", "operation"],
    buckets=_SECONDS,
)
_SLOW = Counter("innosystem_db_slow_queries", "Statements that took longer than the threshold.", ["database"])


def observe(engine: AsyncEngine, *, database: str, slow_query_seconds: float) -> "Statements":
    """Has an engine measured from now on, and its slow statements logged as warnings.

    Args:
        engine: Its pool should be unused so far: connections that are open are not counted as opened.
        database: What the metrics are labelled with, such as `jobs`.
        slow_query_seconds: A statement that takes longer is logged. Its parameters are not: they may be secrets.

    Returns:
        What is to be told of statements that the engine does not execute itself.
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
    """Times the statements of an engine. SQLAlchemy makes an execution context for each, which keeps when it began."""

    def __init__(self, database: str, slow_query_seconds: float) -> None:
        self._database = database
        self._slow_query_seconds = slow_query_seconds
        # Looking a child up by its labels costs as much as what it is then told.
        self._durations = {one: _DURATIONS.labels(database, one) for one in (*_OPERATIONS, _OTHER)}
        self._slow = _SLOW.labels(database)

    def begin(
        self, _connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool
    ) -> None:
        """Is told by SQLAlchemy that a statement begins."""
        context.began_at = perf_counter()

    def end(self, _connection: Any, cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        """Is told by SQLAlchemy that its answer is there."""
        self._ended(statement, context, cursor)

    def fail(self, failure: ExceptionContext) -> None:
        """Is told by SQLAlchemy that it failed."""
        # A statement that ran into its timeout, or whose caller was cancelled, is the slow one that is looked for.
        if failure.statement is not None and failure.execution_context is not None:
            error = type(failure.original_exception).__name__
            self._ended(failure.statement, failure.execution_context, None, error=error)

    def _ended(self, statement: str, context: Any, cursor: Any, **more: str) -> None:
        began_at = getattr(context, "began_at", None)
        if began_at is None:
            return
        # An error while rows are fetched later belongs to a statement that has been counted.
        context.began_at = None
        rows = cursor.rowcount if cursor is not None and cursor.rowcount >= 0 else None
        self.executed(statement, _operation(statement, context), perf_counter() - began_at, rows, **more)

    def executed(self, statement: str, operation: str, seconds: float, rows: int | None, **more: str) -> None:
        """Is told of a statement.

        Args:
            statement: Its SQL.
            operation: Its kind, such as `select`.
            seconds: How long it took.
            rows: How many it answered or changed, if that is known.
            more: What else is to be logged if it was slow.
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
    # All four words have six letters.
    word = statement.lstrip()[:6].lower()
    if word in _OPERATIONS:
        return word
    # WITH may begin any of them. What was written as text stays unknown.
    invoked = context.invoked_statement
    return next((one for one in _OPERATIONS if getattr(invoked, f"is_{one}", False)), _OTHER)


def _count_connections(engine: Engine, database: str) -> None:
    opened, closed, invalidated = (one.labels(database) for one in (_OPENED, _CLOSED, _INVALIDATED))
    # A pool that takes the place of a disposed one takes over its listeners.
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

    # There is an event for a connection that was had, and none for one that is asked for or given up.
    engine.raw_connection = timed  # type: ignore[method-assign]


class _Pools(Collector):
    """Reads pools when metrics are asked for, and keeps no engine alive that nobody else uses."""

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
                # Negative until as many connections are open as are kept.
                overflow[database] += max(0, engine.pool.overflow())
        yield _gauge("innosystem_db_pool_size", "Connections that the pool keeps when it is full.", sizes)
        yield _gauge("innosystem_db_pool_checked_out", "Connections in use.", checked_out)
        yield _gauge("innosystem_db_pool_overflow", "Connections open beyond those that are kept.", overflow)


def _gauge(name: str, documentation: str, values: Sums[str]) -> Metric:
    family = GaugeMetricFamily(name, documentation, labels=["database"])
    for database, value in values.items():
        family.add_metric([database], value)
    return family


_POOLS = _Pools()
REGISTRY.register(_POOLS)
