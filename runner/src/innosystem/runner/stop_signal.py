"""How a run is told that nobody waits for its result any more."""

from dataclasses import dataclass
from enum import StrEnum


class StopReason(StrEnum):
    """Why a handler is stopped and its result dropped."""

    CANCELLED = "cancelled"
    """The job was cancelled."""
    LOST = "lost"
    """The lease ended and the job was given to others, or has ended."""
    RETURNED = "returned"
    """The runner hands the job back: it stops, or could not begin with it soon."""


@dataclass(eq=False, slots=True)
class StopSignal:
    """One of each run, set by the runner and read by the handler, which may be in another thread.

    Attributes:
        requested: Whether the handler's result is of no use any more.
        reason: Why the result is dropped; None if it is still to be reported, as a timeout is.
        in_thread: Whether the handler is in a thread, which nothing but the handler itself ends.
    """

    requested: bool = False
    reason: StopReason | None = None
    in_thread: bool = False

    def drop(self, reason: StopReason) -> None:
        """Have the result dropped."""
        self.reason = reason
        self.requested = True
