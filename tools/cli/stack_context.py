"""The context of a local stack, by which commands in other terminals find it."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from innosystem.shared.transport import Transport
from tools.cli.programs import typed
from tools.errors import CommandError
from tools.local.contexts import changed_contexts


def stack_context(folder: Path) -> str:
    """Create the context of a stack that serves, and return what its user has to know.

    Args:
        folder: The folder of the stack, which has its `stack.env`.
    """
    try:
        with changed_contexts() as contexts:
            name = contexts.add_stack(folder)
            current = contexts.current
    except CommandError as error:
        file = shlex.quote(str(folder / "stack.env"))
        return f"No context: {error}.\nCommands in other terminals take --env-file {file}"
    if current == name:
        return f"Commands in other terminals use this platform, the context {name}."
    return (
        f"Commands in other terminals use the context {current}. They use this platform\n"
        f"with --context {name}, or after `innosystem context use {name}`."
    )


def for_programs(settings_file: Path) -> str:
    """Return how programs find a stack, and say who they are: the SDK and grpcurl know nothing of contexts.

    Args:
        settings_file: Its `stack.env`, an absolute path.
    """
    here = Path.cwd()
    # With a slash: the shell looks for a name without one on the PATH.
    path = f"./{settings_file.relative_to(here)}" if settings_file.is_relative_to(here) else str(settings_file)
    return f"For programs: set -a; . {shlex.quote(path)}; set +a"


def for_grpcurl(settings: Mapping[str, str]) -> Sequence[str]:
    """Return a call with grpcurl, if it is installed, for a shell that has the settings of a stack.

    Args:
        settings: Those of its `stack.env`.
    """
    grpcurl = typed("grpcurl")
    if not grpcurl:
        return []
    transport = Transport.of(settings)
    flags = {
        "-cacert": transport.ca_file,
        "-cert": transport.certificate_file,
        "-key": transport.key_file,
        "-authority": transport.server_name,
    }
    protection = [word for flag, value in flags.items() if value for word in (flag, shlex.quote(value))]
    # grpcurl replaces the variable itself: all users of the machine see the arguments of programs.
    token = ["-expand-headers", "-H", "'authorization: Bearer ${INNOSYSTEM_TOKEN}'"]
    words = [
        *(protection if transport.ca_file else ["-plaintext"]),
        *(token if "INNOSYSTEM_TOKEN" in settings else []),
        settings["JOBS_ADDRESS"],
    ]
    return [f"  {' '.join([grpcurl, *words])} list"]
