"""Whether a database does its work, asked on a connection of its own: one that waits for nobody's."""

from time import monotonic

from sqlalchemy.ext.asyncio import AsyncEngine

from services.kit.clocks import DatabaseClock, Skew
from services.kit.data.dialects import Dialect, dialect_named
from services.kit.data.errors import DatabaseReadOnly
from services.kit.settings import DatabaseSettings, StartupError

# A database has whole milliseconds.
_ROUNDED_SECONDS = 0.001


class Probe:
    """Asks again and again; for health checks.

    A busy pool says nothing about the database: with a connection of the pool a replica whose reads take long would
    count as broken, and hand its load on to the next one.

    Args:
        engine: An engine for this probe alone, of one connection.
        settings: What its connections were opened with.
        name: Whose database it is, for logs and metrics.
    """

    def __init__(self, engine: AsyncEngine, settings: DatabaseSettings, name: str) -> None:
        self._engine = engine
        self._dialect: Dialect = dialect_named(engine.dialect.name)
        self._limit_seconds = settings.statement_timeout_seconds
        self.clock = DatabaseClock(Skew(name, settings.clock_skew_seconds_max))

    async def check(self) -> None:
        """Passes when the database answers and takes changes.

        Raises:
            DatabaseUnavailable: If it does not.
            StartupError: If what stands between loses the limits of this service: no waiting helps.
        """
        asked_at = monotonic()
        async with self._engine.connect() as connection:
            condition = await self._dialect.condition(connection)
            self.clock.read(condition.now, asked_at)
            if condition.read_only:
                # The address may lead to another server by now.
                await connection.invalidate()
                raise DatabaseReadOnly
        found = condition.statement_timeout_seconds
        if found is not None and abs(found - self._limit_seconds) > _ROUNDED_SECONDS:
            raise StartupError(
                f"the limits of this service don't reach the database: statement_timeout is "
                f"{found:g} s there, not {self._limit_seconds:g} s. "
                "If a pooler such as PgBouncer stands between, set ..._DATABASE_POOLED=true"
            )

    async def close(self) -> None:
        """Closes the connection."""
        await self._engine.dispose()
