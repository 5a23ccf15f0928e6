"""A look at databases before a command uses them: each must be reachable, and belong to its service."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tools.errors import CommandError

if TYPE_CHECKING:
    from services.kit.settings import DatabaseSettings


async def check_databases(settings: Mapping[str, "DatabaseSettings"]) -> None:
    """Check databases of services.

    Args:
        settings: The settings of the databases, by service.

    Raises:
        CommandError: A database belongs to another service.
        DatabaseUnavailable: A database can't be reached.
    """
    from services.kit.data.engine.address import DatabaseAddress
    from services.kit.data.engine.database import Database
    from services.kit.migrations.ownership import DatabaseOfAnother, check_owner

    for service, each in settings.items():
        database = Database.connect(each.model_copy(update={"pool_size": 1}), application_name="innosystem")
        try:
            async with database.transaction(read_only=True) as transaction:
                await transaction.connection.run_sync(check_owner, service)
        except DatabaseOfAnother as error:
            address = DatabaseAddress.of(each.url.get_secret_value(), each.variable)
            raise CommandError(f"{address} is the database of {error.owner}, not of {service}") from error
        finally:
            await database.close()
