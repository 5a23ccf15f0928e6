"""Exceptions for authors of handlers."""

import math
from datetime import timedelta
from typing import Final, TypeAlias

Delay: TypeAlias = timedelta | float
"""A delay: a timedelta, or seconds."""

_DELAY_SECONDS_MAX: Final = 24 * 3600.0


class JobError(Exception):
    """A failure with a type and a message, raised by a handler to fail its job.

    Any other exception also fails the job, as retryable and with the name of its class as type.

    Args:
        message: What happened, shown to the customer. Truncated to 10,000 characters.
        type: A machine-readable word, such as `INVALID_INPUT`; by default the name of the class. Truncated to
            200 characters.
        retryable: Whether another attempt may help. If not, the job is FAILED regardless of its remaining
            attempts.
        retry_after: The delay before the next attempt, instead of the job type's backoff: a timedelta or
            seconds. Less than 0 counts as 0, more than 24 hours as 24 hours.

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
    """A request to run the job again later, raised by a handler that cannot do its work yet.

    No attempt is used up, and nothing is charged. A job can be snoozed 100 times, counted in
    `JobContext.snooze_count`; then it is FAILED.

    Args:
        delay: How long to wait before the next run: a timedelta or seconds. Less than 0 counts as 0, more
            than 24 hours as 24 hours.

    Raises:
        ValueError: `delay` is not a number.
    """

    def __init__(self, delay: Delay) -> None:
        super().__init__(delay)
        self.delay_seconds = _seconds(delay)


class CheckpointError(JobError):
    """A checkpoint that is not stored, raised by `JobContext.checkpoint`.

    A handler that does not catch it fails. It is retryable unless the data can never be stored.
    """


class HandlerRegistrationError(Exception):
    """A handler that cannot be registered, or a module of handlers that cannot be loaded."""


def _seconds(delay: Delay) -> float:
    """Convert a delay to seconds within the bounds that the jobs service accepts."""
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
    if math.isnan(seconds):
        raise ValueError("a delay must be a number of seconds")
    return min(max(seconds, 0.0), _DELAY_SECONDS_MAX)
