"""The environment of this process, and the file `.env` for variables that the environment lacks."""

import os
from collections.abc import Mapping, MutableMapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from dotenv import dotenv_values

from innosystem.shared.secret_files import SecretFileError, secrets_in_files
from innosystem.shared.settings_names import SECRETS
from services import SERVICES
from tools.errors import CommandError


class DatabaseServer(NamedTuple):
    """A PostgreSQL server that a setting names.

    Attributes:
        variable: The name of the setting, such as `JOBS_DATABASE_URL`.
        url: Its value, the address of a database on the server.
    """

    variable: str
    url: str


def environment() -> Mapping[str, str]:
    """Read the environment, and the file `.env` of the working directory for variables that the environment lacks.

    Raises:
        CommandError: The file of a secret, such as that of JOBS_DATABASE_URL_FILE, can't be used.
    """
    return {**filled(dotenv_values(".env")), **shell_environment()}


def shell_environment() -> Mapping[str, str]:
    """Return the environment of this process alone, as `environment` returns it with `.env`."""
    return filled(os.environ)


def filled(variables: Mapping[str, str | None]) -> dict[str, str]:
    """Return variables with a value, and secrets in place of the names of their files.

    Raises:
        CommandError: A file can't be used.
    """
    # `NAME=` in a template is a variable that is not filled in.
    given = {name: value for name, value in variables.items() if value}
    try:
        secrets = secrets_in_files(given, SECRETS)
    except SecretFileError as error:
        raise CommandError(str(error)) from None
    return {name: value for name, value in given.items() if name.removesuffix("_FILE") not in secrets} | secrets


def address_variable(service: str) -> str:
    """Return the variable with the address of a service."""
    return f"{service.upper()}_ADDRESS"


def database_variable(service: str) -> str:
    """Return the variable with the address of a service's database."""
    return f"{service.upper()}_DATABASE_URL"


def owner_variable(service: str) -> str:
    """Return the variable with the address by which the owner of a service's database connects, to migrate it."""
    return f"{service.upper()}_DATABASE_OWNER_URL"


def database_servers(settings: Mapping[str, str]) -> dict[str, DatabaseServer]:
    """Return the servers that the settings name, by service: as the owner if they name it, else as the service.

    The role of a service may not create databases.
    """
    variables = {
        service: owner if (owner := owner_variable(service)) in settings else database_variable(service)
        for service in SERVICES
    }
    return {
        service: DatabaseServer(variable, settings[variable])
        for service, variable in variables.items()
        if variable in settings
    }


def pooled(service: str, settings: Mapping[str, str]) -> bool:
    """Return whether clients reach a service's database through a pooler: JOBS_DATABASE_POOLED and so on."""
    from pydantic import TypeAdapter, ValidationError

    variable = f"{service.upper()}_DATABASE_POOLED"
    try:
        return TypeAdapter(bool).validate_python(settings.get(variable, False))
    except ValidationError as error:
        raise CommandError(f"{variable} must be true or false") from error


def service_role(service: str, settings: Mapping[str, str]) -> str | None:
    """Return the role that a service connects as, or None if no separate owner of its database is set.

    Raises:
        CommandError: The owner is set, and the URL of the service names no role, or the owner's.
    """
    variable = database_variable(service)
    owner, url = settings.get(owner_variable(service)), settings.get(variable)
    if not owner or not url:
        return None
    role = unquote(urlsplit(url).username or "")
    if not role or role == unquote(urlsplit(owner).username or ""):
        raise CommandError(
            f"{variable} must name the role of the service, which differs from that of {owner_variable(service)}"
        )
    return role


def drop_libpq_variables(*environments: MutableMapping[str, str]) -> None:
    """Remove PGSERVICE, PGOPTIONS and the like, which are meant for a server other than the embedded one."""
    for variables in environments:
        for name in [name for name in variables if name.startswith("PG")]:
            del variables[name]
