"""Errors that end a command; each message is one line."""


class CommandError(Exception):
    """A command can't do its work; the message is all that its user needs."""


class ServiceUnreachable(CommandError):
    """A service is unreachable.

    Args:
        service: The service's name, such as `jobs`.
        address: The address that was tried.
    """

    def __init__(self, service: str, address: str) -> None:
        super().__init__(
            f"can't reach the {service} service at {address}: is it running? "
            f"Try `innosystem up`, or set {service.upper()}_ADDRESS"
        )
