"""The revisions of a service, and the operations on them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from io import StringIO
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from psycopg import Connection as DriverConnection
from sqlalchemy import Connection, Engine, MetaData, create_engine, event, make_url, text
from sqlalchemy.pool import NullPool

from services.kit.data.engine.pooled import limited_in_transactions
from services.kit.migrations import grants, schema
from services.kit.migrations.descent import Descent, losses, target_index
from services.kit.migrations.lease import Lease
from services.kit.migrations.locking import Limits, tried_again, turn
from services.kit.migrations.ownership import check_owner

_PLACE = text("SELECT oid, pg_postmaster_start_time() FROM pg_database WHERE datname = current_database()")


@dataclass(frozen=True)
class Migrations:
    """The migrations of one service.

    If several processes start together, one of them migrates while the others wait. Each revision is a transaction, so
    a database is never left in the middle of one, unless the revision has steps outside of it.

    Attributes:
        service: The service's name, such as `jobs`.
        url: The address of its database.
        metadata: The tables that the code expects.
        limits: The limits of waits and attempts.
        connect_timeout_seconds: How long opening a connection may take.
        pooled: Whether a pooler such as PgBouncer is in between, in session or transaction mode.
        service_role: The service's role, if it is not the owner: each upgrade or downgrade ends with the grants that it
            needs.
    """

    service: str
    url: str
    metadata: MetaData
    limits: Limits = field(default_factory=Limits)
    connect_timeout_seconds: float = 10
    pooled: bool = False
    service_role: str | None = None

    @property
    def versions(self) -> Path:
        """The folder of the revisions."""
        return Path(str(resources.files("services") / self.service / "migrations"))

    def up(self, revision: str = "head") -> None:
        """Apply the pending revisions up to one of them.

        Raises:
            MigrationsBusy: If another process was migrating for too long.
            DatabaseOfAnother: If the database belongs to another service.
            ServiceRoleUnknown: If the role of the service does not exist.
        """
        self._move(lambda config: command.upgrade(config, revision))

    def down(self, revision: str) -> None:
        """Roll back to a revision; `-1` for one step, `base` for all.

        Raises:
            MigrationsBusy: If another process was migrating for too long.
            DatabaseOfAnother: If the database belongs to another service.
            CommandError: If the revision does not exist, or the downgrade is refused; nothing is changed then.
        """
        if refusals := self.descent(revision).refusals:
            raise CommandError("; ".join(refusals))
        self._move(lambda config: command.downgrade(config, revision))

    def descent(self, revision: str) -> Descent:
        """Return the consequences of a downgrade to a revision, without changing anything.

        Raises:
            CommandError: If the revision is not an earlier one.
            DatabaseOfAnother: If the database belongs to another service.
        """
        self.check_owner()
        known = self.history()
        names = [name for name, _ in known]
        current = self.current()
        at = names.index(current) if current in names else -1
        target = target_index(names, at, revision)
        if target is None or (current is not None and at < 0):
            raise CommandError(f"no downgrade leads from {current or 'an empty database'} to {revision}")
        back = known[target + 1 : at + 1][::-1]
        if not back:
            return Descent([], [], [])
        printed = StringIO()
        command.downgrade(
            self._config(output=printed), f"{current}:{names[target] if target >= 0 else 'base'}", sql=True
        )
        with self._connection() as connection:
            queries = [text(query) for name, _ in back if (query := self._refuses_down(name))]
            refusals = [reason for query in queries if (reason := connection.scalar(query))]
            return Descent(back, list(losses(connection, printed.getvalue())), refusals)

    def new(self, message: str) -> Path:
        """Write a migration from the template, with the differences between models and database, and HEAD."""
        written: list[Any] = []
        self._run(lambda config: written.append(command.revision(config, message, autogenerate=True)))
        (self.versions / "HEAD").write_text(f"{written[0].revision}\n", encoding="utf-8")
        return Path(written[0].path)

    def current(self) -> str | None:
        """Return the revision of the database, or None if it was never migrated."""
        with self._connection() as connection:
            return MigrationContext.configure(connection).get_current_revision()

    def history(self) -> list[tuple[str, str]]:
        """Return all revisions with their titles, the oldest first."""
        return [(step.revision, step.doc) for step in reversed(list(self._scripts().walk_revisions()))]

    def pending(self) -> list[str]:
        """Return the revisions that the code has and the database lacks, the oldest first.

        A database ahead of the code, migrated by a later release, has no pending revisions.
        """
        return self.after(self.current())

    def after(self, revision: str | None) -> list[str]:
        """Return the revisions after one, the oldest first; none after a revision of another release."""
        known = [each for each, _ in self.history()]
        if revision is None:
            return known
        return known[known.index(revision) + 1 :] if revision in known else []

    def knows(self, revision: str | None) -> bool:
        """Whether the code has a revision; None, the empty database, is known."""
        return revision is None or revision in [each for each, _ in self.history()]

    def differences(self) -> list[str]:
        """Return the differences between the database and the models, in words; empty without differences."""
        with self._connection() as connection:
            return schema.differences(connection, self.metadata, self.service_role)

    def rights_differ(self) -> bool:
        """Return whether the privileges of the service's role differ from the models; `up` and `down` correct them.

        Raises:
            ServiceRoleUnknown: If the role of the service does not exist.
        """
        if self.service_role is None:
            return False
        with self._connection() as connection:
            return grants.differ(connection, self.metadata, self.service_role)

    def sql(self) -> str:
        """Return the SQL of the pending revisions, for `psql`; empty if none is pending."""
        current = self.current()
        return self.sql_between(current, "head") if self.after(current) else ""

    def sql_between(self, start: str | None, end: str) -> str:
        """Return the SQL from one revision (None for the empty database) to a later one, without using a database."""
        limits = "".join(f"SET {name} = {value};\n" for name, value in self.limits.settings().items())
        printed = StringIO()
        command.upgrade(self._config(output=printed), f"{start}:{end}" if start else end, sql=True)
        return f"{limits}\n{printed.getvalue()}"

    def linted_without(self, revision: str) -> tuple[str, ...]:
        """Return the linter's rules that are disabled for a revision, which lists them in `lint_exclude`."""
        return tuple(getattr(self._scripts().get_revision(revision).module, "lint_exclude", ()))

    def _refuses_down(self, revision: str) -> str:
        """Return the query of a revision that selects the reason against its rollback, in no row or one."""
        return str(getattr(self._scripts().get_revision(revision).module, "refuses_down", ""))

    def _engine(self, fence: str = "") -> Engine:
        """Create an engine with the limits; through a pooler, each transaction sets them, and begins with the fence."""
        arguments: dict[str, Any] = {
            "application_name": f"innosystem-migrate-{self.service}",
            "connect_timeout": max(2, round(self.connect_timeout_seconds)),
        }
        settings = self.limits.settings()
        if self.pooled:
            arguments["prepare_threshold"] = None
        else:
            arguments["options"] = " ".join(f"-c {name}={value}" for name, value in settings.items())
        engine = create_engine(
            make_url(self.url).set(drivername="postgresql+psycopg"),
            poolclass=NullPool,
            connect_args=arguments,
            execution_options={"pooled": self.pooled},
        )
        if self.pooled:
            kind = limited_in_transactions(DriverConnection, settings, fence)
            event.listen(engine, "do_connect", lambda _dialect, _record, given, named: kind.connect(*given, **named))
        return engine

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with self._engine().connect() as connection:
            yield connection

    @contextmanager
    def _turn(self) -> Iterator[Connection]:
        if self.pooled:
            with (
                Lease(self._engine(), self.limits).held() as lease,
                lease.fenced(self._engine(lease.fence)) as connection,
            ):
                yield connection
        else:
            with self._connection() as connection, turn(connection, self.limits):
                yield connection

    def check_owner(self) -> str | None:
        """Return the owner of the database; None if the database does not name it.

        Raises:
            DatabaseOfAnother: If the owner is another service.
        """
        with self._connection() as connection:
            return check_owner(connection, self.service)

    def place(self) -> tuple[Any, ...]:
        """Return what tells the database from others, whatever its address: its number, and the start of its server."""
        with self._connection() as connection:
            return tuple(connection.execute(_PLACE).one())

    def _run(self, action: Callable[[Config], object]) -> None:
        with self._turn() as connection:
            tried_again(lambda: action(self._config(connection)), connection, self.limits)

    def _move(self, action: Callable[[Config], object]) -> None:
        def move(config: Config) -> None:
            connection = config.attributes["connection"]
            check_owner(connection, self.service)
            connection.rollback()
            action(config)
            if self.service_role is not None:
                grants.give(connection, self.metadata, self.service_role)
                connection.commit()

        self._run(move)

    def _scripts(self) -> ScriptDirectory:
        return ScriptDirectory.from_config(self._config())

    def _config(self, connection: Connection | None = None, output: StringIO | None = None) -> Config:
        attributes = {"connection": connection, "metadata": self.metadata}
        config = Config(attributes=attributes, output_buffer=output)
        options = {
            "script_location": str(resources.files("services") / "kit" / "migrations"),
            "version_locations": str(self.versions),
            "path_separator": "newline",
            "file_template": "%(year)d_%(month).2d_%(day).2d_%(slug)s",
        }
        for name, value in options.items():
            config.set_main_option(name, value.replace("%", "%%"))
        return config
