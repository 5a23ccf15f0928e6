"""The signal to a run that its result is no longer wanted."""

from dataclasses import dataclass
from enum import StrEnum


class StopReason(StrEnum):
    """Why a handler is stopped and its result dropped."""

    CANCELLED = "cancelled"
    """The job was cancelled."""
    LOST = "lost"
    """The lease ended, and another runner has the job or the job has ended."""
    RETURNED = "returned"
    """The runner returns the job to the queue: it is stopping, or could not start the job soon."""


@dataclass(eq=False, slots=True)
class StopSignal:
    """The stop signal of a run, set by the runner and read by the handler, which may be in another thread.

    Attributes:
        requested: Whether the handler should stop.
        reason: Why the result is dropped; None if the run is still to be reported, as a timeout is.
        in_thread: Whether the handler runs in a thread, which only the handler itself can end.
    """

    requested: bool = False
    reason: StopReason | None = None
    in_thread: bool = False

    def drop(self, reason: StopReason) -> None:
        """Drop the result, and ask the handler to stop."""
        self.reason = reason
        self.requested = True
