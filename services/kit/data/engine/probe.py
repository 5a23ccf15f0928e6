"""Health checks of a database, on a dedicated connection that waits for no other."""

from time import monotonic

from sqlalchemy.ext.asyncio import AsyncEngine

from services.kit.clocks import DatabaseClock, Skew
from services.kit.data.dialects import Dialect, dialect_named
from services.kit.data.errors import DatabaseReadOnly
from services.kit.settings import DatabaseSettings, StartupError

# A database has whole milliseconds.
_ROUNDED_SECONDS = 0.001


class Probe:
    """A repeated check of a database, for health checks.

    A busy pool says nothing about the database: on a connection of the pool, a replica with slow reads would count as
    broken, and its load would move to the next replica.

    Args:
        engine: An engine for this probe alone, with one connection.
        settings: The settings of its connections.
        name: The owner of the database, for logs and metrics.
    """

    def __init__(self, engine: AsyncEngine, settings: DatabaseSettings, name: str) -> None:
        self._engine = engine
        self._dialect: Dialect = dialect_named(engine.dialect.name)
        self._limit_seconds = settings.statement_timeout_seconds
        self.clock = DatabaseClock(Skew(name, settings.clock_skew_seconds_max))

    async def check(self) -> None:
        """Check that the database responds and accepts changes.

        Raises:
            DatabaseUnavailable: If it does not.
            StartupError: If a pooler in between drops the limits of this service: waiting does not help.
        """
        asked_at = monotonic()
        async with self._engine.connect() as connection:
            condition = await self._dialect.condition(connection)
            self.clock.read(condition.now, asked_at)
            if condition.read_only:
                # The address may lead to another server in the meantime.
                await connection.invalidate()
                raise DatabaseReadOnly
        found = condition.statement_timeout_seconds
        if found is not None and abs(found - self._limit_seconds) > _ROUNDED_SECONDS:
            raise StartupError(
                f"the limits of this service do not reach the database: its statement_timeout is "
                f"{found:g} s, not {self._limit_seconds:g} s. "
                "If a pooler such as PgBouncer is in between, set ..._DATABASE_POOLED=true"
            )

    async def close(self) -> None:
        """Close the connection."""
        await self._engine.dispose()
