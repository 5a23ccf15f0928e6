"""Errors that handler authors raise or meet."""


class JobError(Exception):
    """Raised by a handler to fail its job with a type and a message of the author's choice.

    Any other exception fails the job as well, with the name of its class as type, and as retryable.

    Args:
        message: What happened; the customer sees it. 10,000 characters are kept.
        type: A word for programs, such as `INVALID_INPUT`; by default the name of the class. 200
            characters are kept.
        retryable: Whether another attempt may help.
    """

    def __init__(self, message: str, *, type: str = "", retryable: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.type = type or self.__class__.__name__
        self.retryable = retryable


class HandlerRegistrationError(Exception):
    """A handler can't be registered, or a module of handlers can't be loaded."""
