"""The platform that a command works on, from exactly one source: values of two sources are never mixed.

The sources, the first that names a platform: `--context` or `--env-file`; INNOSYSTEM_CONTEXT; the environment with the
file `.env` of the working directory, which are one source as they are for the services; the current context; the
services at their default ports on this machine (ADR 0068).
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dotenv import dotenv_values

from innosystem.shared.settings_names import CREDENTIALS, PLATFORM, misspelt
from innosystem.shared.transport import Transport
from services import SERVICES
from tools.errors import CommandError, UsageError
from tools.local.contexts import DEFAULT, Context, read_contexts
from tools.local.environment import address_variable, database_variable, environment, filled, shell_environment
from tools.local.urls import place

if TYPE_CHECKING:
    from innosystem.client import Token

# Where a service's metrics are read belongs to a platform, and does not name one.
_METRICS: Final = tuple(f"{service.upper()}_METRICS_ADDRESS" for service in SERVICES)

#: The source where nothing names a platform.
DEFAULT_SOURCE: Final = "the default addresses"

# Where the services listen by default.
DEFAULT_ADDRESSES: Final = {"customers": "localhost:50051", "wallets": "localhost:50052", "jobs": "localhost:50053"}


@dataclass(frozen=True)
class Target:
    """A platform, and the source that names it.

    Attributes:
        settings: The variables of the platform that the source has, and all other settings of the environment.
        source: The source in words, such as `the context local`.
        context: The name of the context, if the source is one.
        obvious: Whether users see for themselves which platform it is.
        defaults: The addresses of services that the source leaves to the defaults.
        is_inherited: Whether the source is the environment of this process, which processes started by it have as well.
        is_guessed: Whether the source names databases, and leaves the services that use them to the defaults.
    """

    settings: Mapping[str, str]
    source: str
    context: str | None = None
    obvious: bool = False
    defaults: Mapping[str, str] = field(default_factory=dict)
    is_inherited: bool = False
    is_guessed: bool = False

    @property
    def addresses(self) -> dict[str, str]:
        """The addresses of the services that are known."""
        variables = {service: address_variable(service) for service in SERVICES}
        given = {service: self.settings[name] for service, name in variables.items() if name in self.settings}
        return {**self.defaults, **given}

    @property
    def credentials(self) -> dict[str, str]:
        """The variables with which the platform's callers say who they are."""
        return {name: self.settings[name] for name in CREDENTIALS if name in self.settings}

    def token(self) -> "Token":
        """Return the token of the command's calls: the one of the platform's source, and no other.

        Raises:
            CommandError: The source has a token and a file, or the file can't be read.
        """
        from innosystem.client.credentials import token_of

        try:
            return token_of(self.credentials)
        except ValueError as error:
            raise CommandError(str(error)) from None

    @property
    def platform(self) -> dict[str, str]:
        """The variables that name the platform."""
        return {name: self.settings[name] for name in PLATFORM if name in self.settings}

    @property
    def transport(self) -> Transport:
        """How connections to the services are protected.

        Raises:
            TransportError: A variable has a value that is not known.
        """
        return Transport.of(self.settings)

    def describe(self) -> str:
        """Return the platform in a few words, such as `context local (127.0.0.1:50053)`."""
        source = self.source.removeprefix("the ")
        where = self.addresses.get("jobs") or place(self.settings.get(database_variable("jobs"), ""))
        return f"{source} ({where})" if where else source

    def database_urls(self, *services: str) -> dict[str, str]:
        """Return the addresses of databases, by service.

        Raises:
            CommandError: The source does not have them all.
        """
        variables = {service: database_variable(service) for service in services}
        self.require(*variables.values())
        return {service: self.settings[variable] for service, variable in variables.items()}

    def address(self, service: str) -> str:
        """Return the address of a service.

        Raises:
            CommandError: The source does not have it.
        """
        if (found := self.addresses.get(service)) is None:
            self.require(address_variable(service))
        return str(found)

    def require(self, *variables: str) -> None:
        """Check that the source has variables.

        Raises:
            CommandError: It lacks some; the message names them, and what to do.
        """
        if missing := [variable for variable in variables if variable not in self.settings]:
            names = " and ".join(filter(None, [", ".join(missing[:-1]), missing[-1]]))
            raise CommandError(f"{names} {'is' if len(missing) == 1 else 'are'} not set{self._remedy()}")

    def apply(self) -> None:
        """Set the variables of this process accordingly, for code that reads them itself, as a runner does.

        Raises:
            CommandError: The file `.env`, which such code reads as well, would add variables of another platform.
        """
        own = self.platform
        known = (*own, *self.credentials)
        beside = dotenv_values(".env")
        others = [name for name in (*PLATFORM, *CREDENTIALS) if name not in known]
        leaking = [name for one in others for name in (one, f"{one}_FILE") if name not in known and beside.get(name)]
        if leaking:
            raise CommandError(f".env has {', '.join(leaking)}, and {self.source} has not: use another folder")
        for name in (*PLATFORM, *CREDENTIALS):
            os.environ.pop(name, None)
            os.environ.pop(f"{name}_FILE", None)
        os.environ.update({**own, **self.credentials})

    def _remedy(self) -> str:
        if self.context:
            return f" in {self.source}: `innosystem context create {self.context} --replace` creates it again"
        if not self.platform:
            return (
                f": the context {DEFAULT} knows only addresses of services. `innosystem up` starts a platform; "
                "--context NAME or --env-file FILE names another"
            )
        return (
            f", and {self.source} names {next(iter(self.platform))}: name the whole platform there, or choose one by "
            "--context NAME or --env-file FILE"
        )


@dataclass
class _Choice:
    """The options of the command line, and the platform once a command has asked for it."""

    context: str | None = None
    env_file: Path | None = None
    target: Target | None = None


_choice = _Choice()


def choose(context: str | None = None, env_file: Path | None = None) -> None:
    """Take the options `--context` and `--env-file` of this command.

    Raises:
        UsageError: There are both.
    """
    if context and env_file:
        raise UsageError("--context and --env-file name a platform each: give one of them")
    _choice.context, _choice.env_file, _choice.target = context, env_file, None


def target() -> Target:
    """Return the platform that this command works on, without saying so.

    Raises:
        CommandError: The source can't be read, does not exist, or there are two.
    """
    if _choice.target is None:
        _choice.target = _find(_choice.context, _choice.env_file)
    return _choice.target


def announced() -> Target:
    """Return the platform that this command works on, and say which on a terminal, unless it is obvious.

    Raises:
        CommandError: As for `target`.
    """
    first = _choice.target is None
    found = target()
    if first and not found.obvious and sys.stderr.isatty():
        dim, plain = ("", "") if os.environ.get("NO_COLOR") else ("\x1b[2m", "\x1b[0m")
        print(f"{dim}{found.describe()}{plain}", file=sys.stderr, flush=True)
    return found


def _find(context: str | None, env_file: Path | None) -> Target:
    if env_file:
        return _of_file(env_file)
    if context:
        return _of_context(context)
    shell = _platform(shell_environment())
    if name := os.environ.get("INNOSYSTEM_CONTEXT"):
        if shell:
            raise CommandError(
                f"INNOSYSTEM_CONTEXT and {next(iter(shell))} are both set, which name a platform each: unset one, or "
                "give --context"
            )
        return _of_context(name)
    if given := _platform(environment()):
        return _of_environment(given, source="the environment" if given.items() <= shell.items() else ".env")
    contexts = read_contexts()
    if contexts.current:
        others = [one for name, one in contexts.known.items() if name != contexts.current and one.usable]
        return _of_context(contexts.current, obvious=not others)
    return _default(own_credentials=True)


def _platform(values: Mapping[str, str]) -> dict[str, str]:
    return {name: values[name] for name in PLATFORM if values.get(name)}


def _of_file(file: Path) -> Target:
    if not file.is_file():
        raise CommandError(f"--env-file: there is no file {file}")
    try:
        values = filled(dotenv_values(file))
    except CommandError as error:
        raise CommandError(f"--env-file: {error} ({file})") from None
    for name, meant in misspelt(values).items():
        if meant in PLATFORM:
            raise UsageError(f"--env-file: {file} has {name}, which is not a setting: did you mean {meant}?")
    if not _platform(values):
        raise CommandError(f"--env-file: {file} names no platform: JOBS_ADDRESS, JOBS_DATABASE_URL and so on")
    return Target(_with_other_settings(values), f"the file {file}")


def _of_context(name: str, *, obvious: bool = False) -> Target:
    if name == DEFAULT:
        return _default()
    context = read_contexts().named(name)
    return Target(_with_other_settings(context.settings()), f"the context {name}", context=name, obvious=obvious)


def _default(*, own_credentials: bool = False) -> Target:
    # A token beside the address of another platform is that platform's.
    own = {name: environment()[name] for name in CREDENTIALS if own_credentials and name in environment()}
    # Never obvious: another platform may listen at these ports.
    return Target(_with_other_settings(own), DEFAULT_SOURCE, defaults=DEFAULT_ADDRESSES)


def _of_environment(given: Mapping[str, str], source: str) -> Target:
    """Return the platform that the environment names.

    Databases alone are enough to recognize the context of a platform, as where `innosystem up` works with the databases
    of `.env`: it knows the services too. Addresses are not, as another platform may have had them before.
    """
    obvious = source != ".env"
    if any(address_variable(service) in given for service in SERVICES):
        return Target(environment(), source, obvious=obvious, defaults=_own_addresses(), is_inherited=True)
    if context := _context_with(given):
        return _of_context(context.name)
    # The service in whose environment this is stands beside the default ports of the others.
    defaults = {**DEFAULT_ADDRESSES, **_own_addresses()}
    return Target(environment(), source, obvious=obvious, defaults=defaults, is_inherited=True, is_guessed=True)


def _context_with(given: Mapping[str, str]) -> Context | None:
    """Return a context that has all that the environment names, the current one first."""
    contexts = read_contexts()
    usable = [one for one in contexts.known.values() if one.usable]
    usable.sort(key=lambda one: one.name != contexts.current)
    return next((one for one in usable if given.items() <= one.settings().items()), None)


def _own_addresses() -> dict[str, str]:
    """Return the addresses of services whose own environment this is, as in the container of a service."""
    listening = {service: environment().get(f"{service.upper()}_LISTEN_ADDRESS", "") for service in SERVICES}
    ports = {service: address.rpartition(":")[2] for service, address in listening.items() if ":" in address}
    return {service: f"localhost:{port}" for service, port in ports.items() if port.isdigit() and int(port)}


def _with_other_settings(values: Mapping[str, str]) -> dict[str, str]:
    others = {name: value for name, value in environment().items() if name not in (*PLATFORM, *CREDENTIALS, *_METRICS)}
    return {**others, **values}
