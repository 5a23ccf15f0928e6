"""`innosystem migrate`."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from threading import Timer
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from cyclopts import App, Parameter

from services import SERVICES, Service
from tools.cli.confirmation import DryRun, Yes, confirmed
from tools.cli.output import NOTHING, TABLE, Column, Columns, Output, print_list, print_table
from tools.errors import CommandError
from tools.local.environment import database_variable, owner_variable
from tools.local.migrations import migrations
from tools.local.target import announced

if TYPE_CHECKING:
    from services.kit.migrations.tree import Migrations

# After which a person wonders whether anything happens.
_SILENT_SECONDS: Final = 1.0

app = App(name="migrate", help="Bring the databases to the schema of this release, or back.")

Wanted: TypeAlias = Annotated[Service | None, Parameter(help="The service; by default all three.")]
LockTimeout: TypeAlias = Annotated[
    float,
    Parameter(name="--lock-timeout", help="The seconds that a statement waits for a lock before a retry."),
]
To: TypeAlias = Annotated[str, Parameter(name="--to")]


@app.command
def up(service: Wanted = None, /, *, revision: To = "head", lock_timeout_seconds: LockTimeout = 0.2) -> None:
    """Apply pending migrations.

    Args:
        revision: The last revision to apply.
    """
    for each in _of(service):
        with _named_failures(each.service):
            before = each.current()
            patient = replace(each, limits=replace(each.limits, lock_timeout_seconds=lock_timeout_seconds))
            patient.up(revision)
            _print_move(each.service, before, each.current())


@app.command
def down(service: Service, /, *, revision: To, yes: Yes = False, dry_run: DryRun = False) -> None:
    """Roll the database of a service back, after a confirmation. Data that only the newer schema can hold is lost.

    Args:
        service: The service.
        revision: The target: a revision, `-1` for one step, `base` for an empty database.
    """
    (database,) = _of(service)
    with _named_failures(service):
        before = database.current()
        descent = database.descent(revision)
        if descent.refusals:
            raise CommandError(f"{service}: refused, and nothing was done: {'; '.join(descent.refusals)}")
        if descent.revisions:
            plan = [f"{service}: rolls back {name}: {title}" for name, title in descent.revisions]
            plan += [f"{service}: loses {loss}" for loss in descent.losses]
            if not confirmed(plan, yes=yes, dry_run=dry_run):
                return
            database.down(revision)
        _print_move(service, before, database.current())


@app.command
def current(service: Wanted = None, /, *, output: Output = TABLE) -> None:
    """Show the revision of each database."""
    found: list[dict[str, str | None]] = []
    for each in _of(service):
        with _named_failures(each.service):
            found.append({"service": each.service, "revision": each.current()})
    _print(found, output)


@app.command
def history(service: Wanted = None, /, *, output: Output = TABLE) -> None:
    """Show all revisions, the oldest first, and which of them each database has applied."""
    found: list[dict[str, str | None]] = []
    for each in _of(service):
        with _named_failures(each.service):
            pending = set(each.pending())
            found += [
                {
                    "service": each.service,
                    "revision": revision,
                    "state": "pending" if revision in pending else "applied",
                    "title": title,
                }
                for revision, title in each.history()
            ]
    _print(found, output)


@app.command
def check(service: Wanted = None, /, *, output: Output = TABLE) -> int:
    """Check that nothing is pending and that the databases match the models; exit with 1 if not.

    The check compares tables, columns, types, NOT NULL, defaults, constraints, indexes, triggers, rules and functions,
    the rights of the service's role, and those of other roles on append-only tables.
    """
    found: list[dict[str, str | None]] = []
    for each in _of(service):
        with _named_failures(each.service):
            if not each.knows(current := each.current()):
                found.append({"service": each.service, "problem": "ahead", "what": f"{current} is of another release"})
            pending = each.after(current)
            found += [{"service": each.service, "problem": "pending", "what": revision} for revision in pending]
            if not pending:
                # A database with pending migrations differs in any case.
                differences = each.differences()
                found += [{"service": each.service, "problem": "differs", "what": what} for what in differences]
    if found or not output.for_people:
        _print(found, output)
    else:
        print("Nothing is pending, and the databases match the models.")
    return 1 if found else 0


@app.command
def sql(service: Wanted = None, /) -> None:
    """Print the SQL of pending migrations, and change nothing."""
    for each in _of(service):
        with _named_failures(each.service):
            print(f"-- {each.service}" + ("\n" + pending if (pending := each.sql()) else ": nothing is pending"))


@app.command
def new(service: Service, message: str, /) -> None:
    """Write a migration from the template, filled with the differences between the models and the database.

    Args:
        service: The service.
        message: The title of the migration.
    """
    (database,) = _of(service)
    with _named_failures(service):
        print(database.new(message))


def planned(services: Iterable[str], settings: Mapping[str, str]) -> list[str]:
    """Return the changes that `up` would make to the databases of services, a line each, without making them.

    Args:
        services: The services.
        settings: Where their databases are named.
    """
    databases = _checked([_on(service, settings) for service in services], settings)
    return [line for database in databases for line in _planned(database, settings)]


def _planned(database: "Migrations", settings: Mapping[str, str]) -> Iterator[str]:
    from sqlalchemy import make_url

    with _named_failures(database.service, settings):
        address = make_url(database.url)
        at = f"{address.host}:{address.port or 5432}" if address.host else "this machine"
        where = f"the database {address.database} at {at}"
        current = database.current()
        pending = database.after(current)
        if current is None:
            yield f"{database.service}: creates its tables in {where}"
        elif pending:
            yield f"{database.service}: migrates {where} from {current} to {pending[-1]}"
        elif database.rights_differ():
            yield f"{database.service}: changes the rights of the role {database.service_role} in {where}"


def _of(service: str | None) -> list["Migrations"]:
    """Return the migrations of the services. All addresses are read before any database is changed."""
    wanted = [service] if service else SERVICES
    chosen = announced()
    chosen.require(*(database_variable(name) for name in wanted if owner_variable(name) not in chosen.settings))
    return _checked([_on(name, chosen.settings) for name in wanted], chosen.settings)


def _checked(databases: Sequence["Migrations"], settings: Mapping[str, str]) -> list["Migrations"]:
    """Return databases after a look at each, before any is changed: it must belong to its service, and to no other.

    Raises:
        CommandError: A database belongs to another service, or is set for two services.
    """
    places: dict[tuple[Any, ...], str] = {}
    for each in databases:
        with _named_failures(each.service, settings), _saying_what_is_waited_for(each, settings):
            each.check_owner()
            other = places.setdefault(each.place(), each.service)
        if other != each.service:
            raise CommandError(f"{other} and {each.service} have the same database: each service needs its own")
    return list(databases)


@contextmanager
def _saying_what_is_waited_for(database: "Migrations", settings: Mapping[str, str]) -> Iterator[None]:
    """Say on standard error which database does not respond, while it is waited for."""
    from services.kit.data.engine.address import DatabaseAddress

    address = DatabaseAddress.of(database.url, _variable(database.service, settings))
    line = f"Waiting for the database of {address} to respond, {database.connect_timeout_seconds:g} s at most ...\n"
    saying = Timer(_SILENT_SECONDS, sys.stderr.write, [line])
    saying.daemon = True
    saying.start()
    try:
        yield
    finally:
        saying.cancel()


def _variable(service: str, settings: Mapping[str, str]) -> str:
    """Return the variable that names the database to migrate."""
    owner = owner_variable(service)
    return owner if owner in settings else database_variable(service)


def _on(service: str, settings: Mapping[str, str]) -> "Migrations":
    """Return the migrations of a service on the database that settings name."""
    url = settings.get(owner_variable(service)) or settings[database_variable(service)]
    return migrations(service, url, settings)


@contextmanager
def _named_failures(service: str, settings: Mapping[str, str] | None = None) -> Iterator[None]:
    """Turn errors of a database into errors that name the service, but not the address with its password."""
    from alembic.util import CommandError as AlembicError
    from sqlalchemy.exc import DBAPIError, OperationalError

    from services.kit.data.engine.address import DatabaseAddress
    from services.kit.migrations.grants import ServiceRoleUnknown
    from services.kit.migrations.locking import MigrationsBusy
    from services.kit.migrations.ownership import DatabaseOfAnother

    given = announced().settings if settings is None else settings
    variable = _variable(service, given)
    try:
        yield
    except (AlembicError, DatabaseOfAnother, MigrationsBusy, ServiceRoleUnknown) as error:
        raise CommandError(f"{service}: {error}") from error
    except DBAPIError as error:
        address = DatabaseAddress.of(given[variable], variable)
        said = address.said(error.orig or error)
        if isinstance(error, OperationalError):
            raise CommandError(f"can't use the database of {address}: {said}") from error
        raise CommandError(f"{service}: the database of {address} refused: {said}") from error


def _print_move(service: str, before: str | None, after: str | None) -> None:
    nowhere = "an empty database"
    if before == after:
        print(f"{service}: stays at {after or nowhere}")
    else:
        print(f"{service}: {before or nowhere} -> {after or nowhere}")


def _print(found: Sequence[dict[str, str | None]], output: Output) -> None:
    if not output.for_people:
        names = list(found[0]) if found else []
        columns = Columns(tuple(Column(name, _value_of(name)) for name in names), name="service")
        print_list(found, columns, output, nothing="")
    elif found:
        # Titles and differences are read to their ends, so they wrap.
        print_table(list(found[0]), [[value or NOTHING for value in each.values()] for each in found])


def _value_of(name: str) -> Callable[[dict[str, str | None], datetime | None], str]:
    return lambda row, now: row[name] or NOTHING
