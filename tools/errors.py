"""Errors that end a command, each told in one line."""


class CommandError(Exception):
    """A command can't do what it was asked to; the message is all that its user needs to know."""


class ServiceUnreachable(CommandError):
    """Nothing answers where a service is expected.

    Args:
        service: The service's name, such as `jobs`.
        address: Where it was looked for.
    """

    def __init__(self, service: str, address: str) -> None:
        super().__init__(
            f"can't reach the {service} service at {address}: is it running? "
            f"Try `innosystem up`, or set {service.upper()}_ADDRESS"
        )
