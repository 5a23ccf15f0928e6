"""Whether a service may serve from its database, looked at once after each start.

Alembic is imported only where a database is not at the head of the revisions: it takes 8 MB, which a service would
keep for as long as it runs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, Self

import structlog
from sqlalchemy import MetaData, text
from sqlalchemy.exc import DBAPIError, OperationalError

from services.kit.data.dialects.psycopg_errors import translate
from services.kit.data.engine.database import Database
from services.kit.data.errors import SchemaBehind
from services.kit.errors import DatabaseUnavailable
from services.kit.migrations import grants
from services.kit.migrations.ownership import REVISIONS, DatabaseOfAnother
from services.kit.settings import DatabaseSettings, StartupError

if TYPE_CHECKING:
    from services.kit.migrations.tree import Migrations

log = structlog.get_logger(__name__)

Mode = Literal["validate", "migrate", "warn"]

_EVER_MIGRATED = text("SELECT to_regclass('alembic_version') IS NOT NULL")
_REVISIONS = text(REVISIONS)
# In a query that also fits before there was the column.
_PAGE_TOKEN_KEY = text(
    "SELECT decode(substr(to_jsonb(v) ->> 'page_token_key', 3), 'hex') FROM alembic_version v LIMIT 1"
)


async def _not_known() -> bool:
    return False


async def _nothing() -> str:
    return ""


async def _no_key() -> bytes:
    return b""


class RightsMissing(Exception):
    """The database refuses the role of a service what it needs: it can't serve until that is granted."""

    def __init__(self, service: str, refused: str) -> None:
        super().__init__(f"{refused}: grant it, or run innosystem migrate up {service} as the owner")


@dataclass
class SchemaGate:
    """A health check that passes only when the database answers and has the schema that the code needs.

    The schema is looked at when the database is reachable for the first time, so a service may start before its
    database. A migration that takes longer than a health check goes on, and the next check waits for it.

    Attributes:
        migrations: Makes those of the service.
        mode: What to do with a database behind the code: `validate` ends the process, `migrate` applies what is
            pending, `warn` logs it.
        reachable: Asks the database for a sign of life; raises if it gives none.
        at_head: Whether the database is at the head of the revisions; False if that is not known.
        refused: Tells what the service may not do in the database and has to; empty if there is nothing.
        read_key: Reads the key of page tokens, which is the database's own.
        service: Its name, for messages.
    """

    migrations: "Callable[[], Migrations]"
    mode: Mode
    reachable: Callable[[], Awaitable[None]]
    at_head: Callable[[], Awaitable[bool]] = _not_known
    refused: Callable[[], Awaitable[str]] = _nothing
    read_key: Callable[[], Awaitable[bytes]] = _no_key
    service: str = ""
    _key: bytes = field(default=b"", init=False)
    _looking: asyncio.Task[None] | None = field(default=None, init=False)
    _passed: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    @classmethod
    def of(cls, service: str, settings: DatabaseSettings, metadata: MetaData, database: Database) -> Self:
        """Makes the gate of a service from its settings; its `__main__` does so."""

        def migrations() -> "Migrations":
            from services.kit.migrations.tree import Migrations

            url = settings.url.get_secret_value()
            return Migrations(
                service,
                url,
                metadata,
                connect_timeout_seconds=settings.connect_timeout_seconds,
                pooled=settings.pooled,
            )

        async def at_head() -> bool:
            try:
                return await _revisions(database) == [(head(service), service)]
            except (DBAPIError, SchemaBehind):
                # Not that it is out of reach, which is an error of ours. Alembic will find out, and it will be told.
                return False

        async def refused() -> str:
            async with database.transaction(read_only=True) as transaction:
                return await transaction.connection.run_sync(grants.missing, metadata)

        async def read_key() -> bytes:
            async with database.transaction(read_only=True) as transaction:
                # A database behind this release, which is only warned of, has none.
                return await transaction.connection.scalar(_PAGE_TOKEN_KEY) or settings.page_token_key

        return cls(migrations, settings.schema_check, database.check, at_head, refused, read_key, service)

    async def check(self) -> None:
        """Passes when the service may serve.

        Raises:
            StartupError: If the database is behind the code, could not be migrated, or is that of another service: the
                service can't run.
            DatabaseUnavailable: If the database can't be reached now.
            RightsMissing: If it refuses the service what it needs, now.
        """
        await self.reachable()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_once())
        try:
            await asyncio.shield(self._looking)
            self._passed.set()
        finally:
            if self._looking.done() and (self._looking.cancelled() or self._looking.exception()):
                self._looking = None

    def page_token_key(self) -> bytes:
        """Return the key that signs page tokens: the same in all replicas, however each is led to the database.

        Raises:
            DatabaseUnavailable: If it has not been read yet.
        """
        if not self._key:
            raise DatabaseUnavailable
        return self._key

    def before(self, work: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], Coroutine[Any, Any, None]]:
        """Makes background work wait until the schema is the right one: without it that would crash first."""

        async def wait_and_work() -> None:
            await self._passed.wait()
            await work()

        return wait_and_work

    async def _look_once(self) -> None:
        # First, because a schema or a revision that can't be read looks as if it was not there.
        if refused := await self.refused():
            raise RightsMissing(self.service, refused)
        if not await self.at_head():
            await asyncio.to_thread(self._look)
        self._key = await self.read_key()

    def _look(self) -> None:
        from alembic.util import CommandError

        from services.kit.migrations.locking import MigrationsBusy

        try:
            self._bring_about_or_refuse(self.migrations())
        except DatabaseOfAnother as error:
            raise StartupError(str(error)) from error
        except (CommandError, DBAPIError, MigrationsBusy) as error:
            if isinstance(error, OperationalError) and (known := translate(error.orig or error)):
                raise known from error
            raise StartupError(f"can't {self.mode} the schema of the database: {_line(error)}") from error

    def _bring_about_or_refuse(self, migrations: "Migrations") -> None:
        owner = migrations.check_owner()
        current = migrations.current()
        if not migrations.knows(current):
            if owner is None:
                # A later release of ours would have found, or made, the column.
                raise StartupError(
                    f"{current}, the revision of the database, is of another service, or of a release long ago: "
                    f"look at {migrations.service.upper()}_DATABASE_URL"
                )
            log.info("database_ahead_of_code", revision=current)
            return
        if not (missing := migrations.after(current)):
            return
        service = migrations.service
        if self.mode == "migrate":
            migrations.up()
            log.info("database_migrated", revisions=missing)
            return
        if self.mode == "warn":
            log.warning("database_behind_code", missing=missing, command=f"innosystem migrate up {service}")
            return
        raise StartupError(
            f"the database is behind this release, without {', '.join(missing)}: run innosystem migrate up {service}"
        )


def head(service: str) -> str:
    """The last revision of a service, as the file HEAD beside its revisions has it; a test compares the two."""
    return (resources.files("services") / service / "migrations" / "HEAD").read_text(encoding="utf-8").strip()


async def _revisions(database: Database) -> list[tuple[str, str | None]]:
    """The revisions that a database is at, each with whose it is."""
    async with database.transaction(read_only=True) as transaction:
        if not await transaction.connection.scalar(_EVER_MIGRATED):
            return []
        return [(row.revision, row.service) for row in await transaction.connection.execute(_REVISIONS)]


def _line(error: Exception) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())
