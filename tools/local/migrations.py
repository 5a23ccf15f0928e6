"""The migrations of the services' databases."""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

from tools.local.environment import pooled, service_role

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

    return Migrations(
        service,
        url,
        import_module(f"services.{service}.store.tables").metadata,
        pooled=pooled(service, settings),
        service_role=service_role(service, settings),
    )
