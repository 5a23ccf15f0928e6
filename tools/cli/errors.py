"""Errors of commands as one line that a person can act on."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tools.errors import BAD_ARGUMENTS, UsageError

if TYPE_CHECKING:
    import grpc

# Names of other programs for what is called otherwise here, each with the commands to look for.
_OTHER_NAMES: Final = {
    "get": ("show",),
    "describe": ("show",),
    "info": ("show",),
    "view": ("show",),
    "ls": ("list",),
    "add": ("create",),
    "new": ("create",),
    "set": ("update",),
    "remove": ("delete", "deactivate"),
    "rm": ("delete", "deactivate"),
    "delete": ("deactivate",),
    "stop": ("cancel", "pause"),
    "kill": ("cancel",),
    "rerun": ("retry",),
    "logs": ("watch",),
    "tail": ("watch",),
}

# What a refusal for its credentials means for a command.
_CREDENTIALS_ADVICE: Final = {
    "NO_CREDENTIALS": " For commands: INNOSYSTEM_TOKEN, INNOSYSTEM_TOKEN_FILE, or the context of a running stack",
    "BAD_CREDENTIALS": " (`innosystem tokens show` explains a token)",
}

#: What the services' messages advise callers to do, and the command for it.
ADVICE: Final = {
    "have an operator look for the right one": "look for the right one with `innosystem customers list`",
    "until an operator activates it": "until `innosystem customers activate` was run",
    "until an operator enables it": "until `innosystem job-types enable` was run",
    "replace it by a new one": "replace it with `innosystem customers rotate-key`",
    "disable it with UpdateJobType": "disable it with `innosystem job-types disable`",
    "ListApiKeys": "`innosystem customers keys list`",
    "ListHolds": "`innosystem wallets holds`",
    "ListJobTypes": "`innosystem job-types list`",
    "ListTransactions": "`innosystem wallets statement`",
}


def with_commands(message: str) -> str:
    """Return the message of a service with commands instead of the methods that it advises to call."""
    return re.sub("|".join(map(re.escape, ADVICE)), lambda found: ADVICE[found[0]], message)


def describe(error: BaseException) -> str:
    """Describe an error.

    Args:
        error: Any exception of a command.

    Returns:
        The text to print; one line for an expected error.
    """
    # Slow imports, needed only after a failure.
    import grpc
    import psycopg
    from redis.exceptions import RedisError

    from innosystem.shared.transport import TransportError
    from services.kit.errors import DatabaseUnavailable, DomainError, explained
    from services.kit.settings import StartupError
    from tools.errors import CommandError
    from tools.local.embedded import EmbeddedServerError

    error = first_of(error)
    if isinstance(error, grpc.RpcError):
        return _describe_call(error)
    if isinstance(error, DatabaseUnavailable):
        # The command itself uses the database, so the advice to retry the request does not apply.
        if error.said:
            return f"can't use the database of {error.where}: {error.said}"
        return f"the database can't be used: {explained(error.__cause__ or error)}"
    if isinstance(driver := getattr(error, "orig", error), psycopg.Error):
        return f"the database refused: {' '.join(str(driver).split())}"
    if isinstance(error, RedisError):
        return f"can't use the Redis of REDIS_URL: {error}"
    if isinstance(error, (CommandError, DomainError, EmbeddedServerError, StartupError, TransportError)):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error} (this should not happen: --debug shows where it does)"


def status_of(error: BaseException) -> int:
    """Return the exit status for an error of a command: 2 for wrong arguments, otherwise 1."""
    return BAD_ARGUMENTS if isinstance(first_of(error), UsageError) else 1


def first_of(error: BaseException) -> BaseException:
    """Return the first error of a group of tasks: the others were cancelled because of it, or have the same cause."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def describe_unknown_command(tokens: Sequence[str], known: Sequence[str]) -> str:
    """Describe an unknown command, and suggest a similar one."""
    import difflib

    name = tokens[0] if tokens else ""
    near = [one for one in _OTHER_NAMES.get(name, ()) if one in known] or difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else "--help lists them"
    return f"unknown {'option' if name.startswith('-') else 'command'} {name!r}: {hint}"


def _describe_call(error: "grpc.RpcError") -> str:
    from innosystem.client import error_from

    if known := error_from(error):
        return with_commands(str(known)) + _CREDENTIALS_ADVICE.get(known.reason, "")
    code = getattr(error, "code", lambda: None)()
    details = getattr(error, "details", lambda: None)()
    return f"{code.name if code else 'UNKNOWN'}: {details or 'the service gave no reason'}"
