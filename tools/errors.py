"""Errors that end a command; each message is one line."""

BAD_ARGUMENTS = 2
"""The exit status for wrong arguments. A refusal or a failure has 1."""


class CommandError(Exception):
    """A command can't do its work; the message is all that its user needs."""


class UsageError(CommandError):
    """The arguments of a command are wrong, whatever platform it is for."""


class ServiceUnreachable(CommandError):
    """A service is unreachable.

    Args:
        service: The service's name, such as `jobs`.
        address: The address that was tried.
        source: Where the address comes from, such as `the context local`.
        advice: What the user can do.
    """

    def __init__(self, service: str, address: str, source: str, advice: str) -> None:
        super().__init__(f"can't reach the {service} service at {address} ({source}): is it running? {advice}")
