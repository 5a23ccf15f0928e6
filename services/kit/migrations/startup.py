"""Whether a service may serve from its database, looked at once after each start."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import structlog
from alembic.util import CommandError
from sqlalchemy import MetaData
from sqlalchemy.exc import DBAPIError, OperationalError

from services.kit.data.errors import translate
from services.kit.migrations.locking import MigrationsBusy
from services.kit.migrations.tree import Migrations
from services.kit.settings import DatabaseSettings, StartupError

log = structlog.get_logger(__name__)

Mode = Literal["validate", "migrate", "warn"]


@dataclass
class SchemaGate:
    """A health check that passes only when the database answers and has the schema that the code needs.

    The schema is looked at when the database is reachable for the first time, so a service may start before its
    database. A migration that takes longer than a health check goes on, and the next check waits for it.

    Attributes:
        migrations: Those of the service.
        mode: What to do with a database behind the code: `validate` ends the process, `migrate` applies what is
            pending, `warn` logs it.
        reachable: Asks the database for a sign of life; raises if it gives none.
    """

    migrations: Migrations
    mode: Mode
    reachable: Callable[[], Awaitable[None]]
    _looking: asyncio.Task[None] | None = field(default=None, init=False)
    _passed: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    @classmethod
    def of(
        cls, service: str, settings: DatabaseSettings, metadata: MetaData, reachable: Callable[[], Awaitable[None]]
    ) -> Self:
        """Makes the gate of a service from its settings; its `__main__` does so."""
        url = settings.url.get_secret_value()
        migrations = Migrations(service, url, metadata, connect_timeout_seconds=settings.connect_timeout_seconds)
        return cls(migrations, settings.schema_check, reachable)

    async def check(self) -> None:
        """Passes when the service may serve.

        Raises:
            StartupError: If the database is behind the code, or could not be migrated: the service can't run.
            DatabaseUnavailable: If the database can't be reached now.
        """
        await self.reachable()
        if self._looking is None:
            self._looking = asyncio.create_task(asyncio.to_thread(self._look))
        try:
            await asyncio.shield(self._looking)
            self._passed.set()
        finally:
            if self._looking.done() and (self._looking.cancelled() or self._looking.exception()):
                self._looking = None

    def before(self, work: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], Coroutine[Any, Any, None]]:
        """Makes background work wait until the schema is the right one: without it that would crash first."""

        async def wait_and_work() -> None:
            await self._passed.wait()
            await work()

        return wait_and_work

    def _look(self) -> None:
        try:
            self._bring_about_or_refuse()
        except (CommandError, DBAPIError, MigrationsBusy) as error:
            if isinstance(error, OperationalError) and (known := translate(error.orig or error)):
                raise known from error
            raise StartupError(f"can't {self.mode} the schema of the database: {_line(error)}") from error

    def _bring_about_or_refuse(self) -> None:
        current = self.migrations.current()
        if not self.migrations.knows(current):
            log.info("database ahead of the code", revision=current)
            return
        if not (missing := self.migrations.after(current)):
            return
        service = self.migrations.service
        if self.mode == "migrate":
            self.migrations.up()
            log.info("database migrated", revisions=missing)
            return
        if self.mode == "warn":
            log.warning("database behind the code", missing=missing, command=f"innosystem migrate up {service}")
            return
        raise StartupError(
            f"the database is behind this release, without {', '.join(missing)}: run innosystem migrate up {service}"
        )


def _line(error: Exception) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())
