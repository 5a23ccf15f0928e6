"""Migrations: one Alembic tree a service, run by the same code, environment and template (those beside this file).

Several pods may start at once: an advisory lock lets one of them migrate while the others wait. All pending migrations
of one command run in one transaction, so that a database is never left between two revisions.
"""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from alembic import command, context
from alembic.autogenerate import compare_metadata
from alembic.autogenerate.api import AutogenContext
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from services.kit.data.tables import JsonText

_LOCK = "innosystem migrations"
_LOCK_TIMEOUT_SECONDS = 60
_STATEMENT_TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Migrations:
    """The migrations of one service.

    Attributes:
        service: The service's name, such as `jobs`.
        url: The address of its database.
        metadata: Its tables as the code expects them.
    """

    service: str
    url: str
    metadata: MetaData

    @property
    def versions(self) -> Path:
        """The folder of the revisions."""
        return Path(str(resources.files("services") / self.service / "migrations"))

    def up(self, revision: str = "head") -> None:
        """Applies what is pending up to a revision."""
        self._run(lambda config: command.upgrade(config, revision))

    def down(self, revision: str) -> None:
        """Rolls back to a revision; `-1` for one step, `base` for all."""
        self._run(lambda config: command.downgrade(config, revision))

    def new(self, message: str) -> Path:
        """Writes a migration from the template, filled with how the models differ from the database."""
        written: list[Any] = []
        self._run(lambda config: written.append(command.revision(config, message, autogenerate=True)))
        return Path(written[0].path)

    def current(self) -> str | None:
        """The revision the database is at, or None if it was never migrated."""
        with self._connection() as connection:
            return MigrationContext.configure(connection).get_current_revision()

    def history(self) -> list[tuple[str, str]]:
        """All revisions with their titles, the oldest first."""
        scripts = ScriptDirectory.from_config(self._config())
        return [(step.revision, step.doc) for step in reversed(list(scripts.walk_revisions()))]

    def pending(self) -> list[str]:
        """The revisions that the code has and the database has not, the oldest first.

        A database ahead of the code (the release after this one migrated it) has nothing pending.
        """
        known = [revision for revision, _ in self.history()]
        current = self.current()
        if current is None:
            return known
        return known[known.index(current) + 1 :] if current in known else []

    def differences(self) -> list[str]:
        """How the database differs from the models, in words; empty if it does not."""
        with self._connection() as connection:
            migration_context = MigrationContext.configure(connection, opts=_COMPARE)
            found = compare_metadata(migration_context, self.metadata)
        return [str(difference) for difference in found]

    def _connection(self) -> Any:
        url = make_url(self.url).set(drivername="postgresql+psycopg")
        return create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": 10}).connect()

    def _run(self, action: Any) -> None:
        with self._connection() as connection, connection.begin():
            for name, seconds in (
                ("lock_timeout", _LOCK_TIMEOUT_SECONDS),
                ("statement_timeout", _STATEMENT_TIMEOUT_SECONDS),
            ):
                connection.execute(text(f"SET LOCAL {name} = '{seconds}s'"))
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:lock))"), {"lock": _LOCK})
            action(self._config(connection))

    def _config(self, connection: Connection | None = None) -> Config:
        config = Config(attributes={"connection": connection, "metadata": self.metadata})
        options = {
            "script_location": str(resources.files("services") / "kit" / "migrations"),
            "version_locations": str(self.versions),
            "path_separator": "newline",
            "file_template": "%(year)d_%(month).2d_%(day).2d_%(slug)s",
        }
        for name, value in options.items():
            config.set_main_option(name, value.replace("%", "%%"))
        return config


def _render(kind: str, item: object, autogenerate: AutogenContext) -> str | Literal[False]:
    """Writes our own column type as what it is in the database: migrations don't import the code of a release."""
    if kind == "type" and isinstance(item, JsonText):
        autogenerate.imports.add("from sqlalchemy.dialects import postgresql")
        return "postgresql.JSONB()"
    return False


_COMPARE: dict[str, Any] = {
    "compare_type": True,
    "compare_server_default": True,
    "render_item": _render,
}


def run_environment() -> None:
    """What the `env.py` of each service does: run the migrations on the connection it was handed."""
    attributes = context.config.attributes
    context.configure(connection=attributes["connection"], target_metadata=attributes["metadata"], **_COMPARE)
    context.run_migrations()
