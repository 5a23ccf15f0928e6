"""The settings of commands: the environment, and for what is missing there the file `.env`."""

import os
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from dotenv import dotenv_values

from tools.errors import CommandError

# Where `innosystem up` puts the services, and where they listen when nothing else is said.
_DEFAULTS: Final = {
    "customers": "localhost:50051",
    "wallets": "localhost:50052",
    "jobs": "localhost:50053",
}


def environment() -> Mapping[str, str]:
    """Reads the environment and, for what is missing there, the file `.env` of the working directory."""
    values = {**dotenv_values(".env"), **os.environ}
    # `NAME=` means that nobody filled it in.
    return {name: value for name, value in values.items() if value}


def addresses() -> dict[str, str]:
    """Tells where the services are: CUSTOMERS_ADDRESS, WALLETS_ADDRESS and JOBS_ADDRESS, or the local stack."""
    given = environment()
    return {service: given.get(f"{service.upper()}_ADDRESS", default) for service, default in _DEFAULTS.items()}


def pooled(service: str, settings: Mapping[str, str]) -> bool:
    """Tells whether a pooler stands before the database of a service: JOBS_DATABASE_POOLED and so on."""
    from pydantic import TypeAdapter, ValidationError

    variable = f"{service.upper()}_DATABASE_POOLED"
    try:
        return TypeAdapter(bool).validate_python(settings.get(variable, False))
    except ValidationError as error:
        raise CommandError(f"{variable} is neither true nor false") from error


def owner_variable(service: str) -> str:
    """Return the variable with the address by which the owner of a service's database connects, to migrate it."""
    return f"{service.upper()}_DATABASE_OWNER_URL"


def service_role(service: str, settings: Mapping[str, str]) -> str | None:
    """Return the role that a service connects as, where it is not the owner of the database: its URL names both.

    Raises:
        CommandError: If there is a URL of the owner, and that of the service names nobody, or the same role.
    """
    variable = f"{service.upper()}_DATABASE_URL"
    owner, url = settings.get(owner_variable(service)), settings.get(variable)
    if not owner or not url:
        return None
    role = unquote(urlsplit(url).username or "")
    if not role or role == unquote(urlsplit(owner).username or ""):
        raise CommandError(
            f"{variable} has to name the role of the service, which is not that of {owner_variable(service)}"
        )
    return role
