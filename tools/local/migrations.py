"""The migrations of the services' databases."""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

from tools.errors import CommandError
from tools.local.environment import database_variable, owner_variable, pooled, service_role

if TYPE_CHECKING:
    from services.kit.migrations.tree import Migrations


def migrations(service: str, url: str, settings: Mapping[str, str] = MappingProxyType({})) -> "Migrations":
    """Return the migrations of a service's database.

    Args:
        service: The service.
        url: The address by which the owner of the database connects.
        settings: Where the role of the service and a pooler are named; without them there are none.
    """
    from services.kit.migrations.tree import Migrations
    from services.kit.settings import check_database_url

    try:
        check_database_url(url)
    except ValueError as error:
        owner = owner_variable(service)
        raise CommandError(f"{owner if owner in settings else database_variable(service)} {error}") from None
    return Migrations(
        service,
        url,
        import_module(f"services.{service}.store.tables").metadata,
        pooled=pooled(service, settings),
        service_role=service_role(service, settings),
    )
