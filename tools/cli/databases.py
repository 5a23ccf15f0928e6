"""A look at databases before a command uses them: each must be reachable, and belong to its service."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from tools.errors import CommandError

if TYPE_CHECKING:
    from services.kit.settings import DatabaseSettings


async def check_databases(settings: Mapping[str, "DatabaseSettings"]) -> dict[str, str]:
    """Check databases of services.

    Args:
        settings: The settings of the databases, by service.

    Returns:
        The revision of each database, by service.

    Raises:
        CommandError: A database belongs to another service, or was never migrated; names it.
        DatabaseUnavailable: A database can't be reached.
    """
    from services.kit.data.engine.address import DatabaseAddress
    from services.kit.data.engine.database import Database
    from services.kit.migrations.ownership import DatabaseOfAnother, applied_revision, check_owner

    revisions: dict[str, str] = {}
    empty: dict[str, str] = {}
    for service, each in settings.items():
        database = Database.connect(each.model_copy(update={"pool_size": 1}), application_name="innosystem")
        try:
            async with database.transaction(read_only=True) as transaction:
                await transaction.connection.run_sync(check_owner, service)
                revision = await transaction.connection.run_sync(applied_revision)
        except DatabaseOfAnother as error:
            address = DatabaseAddress.of(each.url.get_secret_value(), each.variable)
            raise CommandError(f"{address} is the database of {error.owner}, not of {service}") from error
        finally:
            await database.close()
        if revision is None:
            empty[service] = str(DatabaseAddress.of(each.url.get_secret_value(), each.variable))
        else:
            revisions[service] = revision
    if empty:
        named = ", ".join(empty.values())
        raise CommandError(
            f"no tables are in the database of {named}: is it the right one? {_migrate(empty)} makes them"
        )
    return revisions


def schema_behind(revisions: Mapping[str, str]) -> CommandError:
    """Return the error that names the databases that lack what this release reads.

    Args:
        revisions: What `check_databases` returned.
    """
    from services.kit.migrations.startup import head

    behind = {service: at for service, at in revisions.items() if at != head(service)} or revisions
    named = ", ".join(f"{service} (at {at})" for service, at in behind.items())
    return CommandError(f"the database of {named} is behind this release: {_migrate(behind)} brings it up")


def _migrate(services: Collection[str]) -> str:
    """Return the command that migrates the databases of services."""
    return f"`innosystem migrate up{f' {next(iter(services))}' if len(services) == 1 else ''}`"
