"""The check of a service's database, once after each start: whether the service may serve from it.

Alembic is imported only if a database is not at the head of the revisions: it takes 8 MB, which a service would keep
for as long as it runs.
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
from services.kit.database_identity import PLACE, database_identity
from services.kit.errors import DatabaseUnavailable, explained
from services.kit.migrations import grants
from services.kit.migrations.ownership import REVISIONS, DatabaseOfAnother
from services.kit.settings import DatabaseSettings, StartupError

if TYPE_CHECKING:
    from services.kit.migrations.tree import Migrations

log = structlog.get_logger(__name__)

Mode = Literal["validate", "migrate", "warn"]

_EVER_MIGRATED = text("SELECT to_regclass('alembic_version') IS NOT NULL")
_REVISIONS = text(REVISIONS)
_PLACE = text(PLACE)
# In a query that works without the column as well.
_PAGE_TOKEN_KEY = text(
    "SELECT decode(substr(to_jsonb(v) ->> 'page_token_key', 3), 'hex') FROM alembic_version v LIMIT 1"
)


async def _unknown() -> bool:
    return False


async def _nothing() -> str:
    return ""


async def _no_key() -> bytes:
    return b""


class RightsMissing(Exception):
    """The role of a service lacks privileges in the database: the service cannot serve until they are granted."""

    def __init__(self, service: str, refused: str) -> None:
        super().__init__(f"{refused}: grant it, or run innosystem migrate up {service} as the owner")


@dataclass
class SchemaGate:
    """A health check that passes only if the database responds and has the schema that the code needs.

    The schema is checked when the database is reachable for the first time, so a service may start before its database.
    A migration that takes longer than a health check continues, and the next check waits for it.

    Attributes:
        migrations: Creates the migrations of the service.
        mode: How to treat a database behind the code: `validate` ends the process, `migrate` applies the pending
            migrations, `warn` logs them.
        reachable: Checks the database; raises if it is unavailable.
        at_head: Whether the database is at the head of the revisions; False if unknown.
        refused: Returns the missing privileges of the service; empty if none is missing.
        read_key: Reads the key of page tokens, which belongs to the database.
        service: The name of the service, for messages.
        read_identity: Reads the identity of the database; empty if it can't be known.
    """

    migrations: "Callable[[], Migrations]"
    mode: Mode
    reachable: Callable[[], Awaitable[None]]
    at_head: Callable[[], Awaitable[bool]] = _unknown
    refused: Callable[[], Awaitable[str]] = _nothing
    read_key: Callable[[], Awaitable[bytes]] = _no_key
    service: str = ""
    read_identity: Callable[[], Awaitable[str]] = _nothing
    identity: str = field(default="", init=False)
    """What tells the database from all others; empty until it is known."""
    _key: bytes = field(default=b"", init=False)
    _looking: asyncio.Task[None] | None = field(default=None, init=False)
    _passed: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    @classmethod
    def of(cls, service: str, settings: DatabaseSettings, metadata: MetaData, database: Database) -> Self:
        """Create the gate of a service from its settings, for its `__main__`."""

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
                # Alembic will find the reason. An unreachable database raises an error of the data layer instead.
                return False

        async def refused() -> str:
            async with database.transaction(read_only=True) as transaction:
                return await transaction.connection.run_sync(grants.missing, metadata)

        async def read_key() -> bytes:
            async with database.transaction(read_only=True) as transaction:
                # A database behind this release, served in the mode `warn`, has none.
                return await transaction.connection.scalar(_PAGE_TOKEN_KEY) or settings.page_token_key

        async def read_identity() -> str:
            try:
                async with database.transaction(read_only=True) as transaction:
                    return database_identity(await transaction.connection.scalar(_PLACE) or "")
            except DBAPIError as error:
                # A server may withhold it from the service's role. Commands that compare databases say so.
                log.info("database_identity_unknown", error=explained(translate(error) or error))
                return ""

        return cls(
            migrations,
            settings.schema_check,
            database.check,
            at_head,
            refused,
            read_key,
            service,
            read_identity,
        )

    async def check(self) -> None:
        """Check that the service may serve.

        Raises:
            StartupError: If the database is behind the code, could not be migrated, or belongs to another service: the
                service cannot run.
            DatabaseUnavailable: If the database is unavailable now.
            RightsMissing: If the service lacks privileges now.
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
        """Return the key that signs page tokens: the same in all replicas, independent of their database addresses.

        Raises:
            DatabaseUnavailable: If the key has not been read yet.
        """
        if not self._key:
            raise DatabaseUnavailable
        return self._key

    def before(self, work: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], Coroutine[Any, Any, None]]:
        """Return background work that waits until the check has passed: without the schema it would crash first."""

        async def wait_and_work() -> None:
            await self._passed.wait()
            await work()

        return wait_and_work

    async def _look_once(self) -> None:
        # First, because a schema or a revision that cannot be read looks as if it did not exist.
        if refused := await self.refused():
            raise RightsMissing(self.service, refused)
        if not await self.at_head():
            await asyncio.to_thread(self._look)
        self._key = await self.read_key()
        self.identity = await self.read_identity()

    def _look(self) -> None:
        from alembic.util import CommandError

        from services.kit.migrations.locking import MigrationsBusy

        try:
            self._migrate_or_refuse(self.migrations())
        except DatabaseOfAnother as error:
            raise StartupError(str(error)) from error
        except (CommandError, DBAPIError, MigrationsBusy) as error:
            if isinstance(error, OperationalError) and (known := translate(error.orig or error)):
                raise known from error
            raise StartupError(f"can't {self.mode} the schema of the database: {_line(error)}") from error

    def _migrate_or_refuse(self, migrations: "Migrations") -> None:
        owner = migrations.check_owner()
        current = migrations.current()
        if not migrations.knows(current):
            if owner is None:
                # A later release would have found, or created, the column.
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
    """Return the last revision of a service, from the file HEAD beside its revisions; a test compares the two."""
    return (resources.files("services") / service / "migrations" / "HEAD").read_text(encoding="utf-8").strip()


async def _revisions(database: Database) -> list[tuple[str, str | None]]:
    """Return the revisions of a database, each with its owner."""
    async with database.transaction(read_only=True) as transaction:
        if not await transaction.connection.scalar(_EVER_MIGRATED):
            return []
        return [(row.revision, row.service) for row in await transaction.connection.execute(_REVISIONS)]


def _line(error: Exception) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())
