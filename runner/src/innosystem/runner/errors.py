"""Errors that handler authors raise or meet."""

import math
from datetime import timedelta
from typing import Final, TypeAlias

Delay: TypeAlias = timedelta | float
"""A time to wait: a timedelta, or seconds."""

_DELAY_SECONDS_MAX: Final = 24 * 3600.0


class JobError(Exception):
    """Raised by a handler to fail its job with a type and a message of the author's choice.

    Any other exception fails the job as well, with the name of its class as type, and as retryable.

    Args:
        message: What happened; the customer sees it. 10,000 characters are kept.
        type: A word for programs, such as `INVALID_INPUT`; by default the name of the class. 200
            characters are kept.
        retryable: Whether another attempt may help. If not, the job is FAILED whatever attempts it
            has left.
        retry_after: How long to wait before the next attempt, instead of the job type's backoff: a
            timedelta or seconds. Less than 0 counts as 0, more than 24 hours as 24 hours.

    Raises:
        ValueError: `retry_after` is not a number.
    """

    def __init__(
        self, message: str, *, type: str = "", retryable: bool = True, retry_after: Delay | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.type = type or self.__class__.__name__
        self.retryable = retryable
        self.retry_after_seconds = None if retry_after is None else _seconds(retry_after)


class Snooze(Exception):
    """Raised by a handler that can't do its job yet: the job is run again later.

    It uses up no attempt, and nothing is charged. A job can be snoozed 100 times; then it is FAILED.
    `JobContext.snooze_count` tells how often it was.

    Args:
        delay: When to run it again, from now: a timedelta or seconds. Less than 0 counts as 0, more
            than 24 hours as 24 hours.

    Raises:
        ValueError: `delay` is not a number.
    """

    def __init__(self, delay: Delay) -> None:
        super().__init__(delay)
        self.delay_seconds = _seconds(delay)


class HandlerRegistrationError(Exception):
    """A handler can't be registered, or a module of handlers can't be loaded."""


def _seconds(delay: Delay) -> float:
    """Read a delay within the bounds that the jobs service takes."""
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
    if math.isnan(seconds):
        raise ValueError("a delay has to be a number of seconds")
    return min(max(seconds, 0.0), _DELAY_SECONDS_MAX)
