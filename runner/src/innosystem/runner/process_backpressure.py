"""Keep a runner from taking more jobs for processes than it can start."""

import time
from collections.abc import Callable
from typing import Final

_WINDOW_SECONDS: Final = 1.0


class ProcessBackpressure:
    """A count of the jobs that wait for a process, which limits the intake once some had to be returned to the queue.

    Only a claim reveals whether a job needs a process, so the intake is unlimited until a job has to be returned. From
    then on the limit is the number of jobs that processes started while the returned job waited, at least one; it
    doubles each second in which no job is returned. Two full runners thus exchange one job a second rather than all
    waiting jobs.

    Attributes:
        changed: Called when the room may have changed.
        parked: How many suspects wait for a process: their slots are free for other jobs.
        sharing: How many jobs use the slot of another one, with which they are called: theirs are free as well.
    """

    def __init__(self) -> None:
        self.changed: Callable[[], None] = lambda: None
        self.parked = 0
        self.sharing = 0
        self._waiting = 0
        self._begun = 0
        self._limit: int | None = None
        self._limited_at = 0.0

    def park(self, jobs: int) -> None:
        """Count suspects that start to wait, or, with a negative number, that stop waiting."""
        self.parked += jobs
        self.changed()

    def share(self, jobs: int) -> None:
        """Count jobs that start to share a slot, or, with a negative number, that stop."""
        self.sharing += jobs
        self.changed()

    @property
    def without_slot(self) -> int:
        """How many jobs in hand use no slot."""
        return self.parked + self.sharing

    def begin_wait(self) -> int:
        """Count a job that starts to wait, and return the argument for `end_wait`."""
        self._waiting += 1
        return self._begun

    def end_wait(self, begun_before: int, *, begun: bool) -> None:
        """Count a job that stops waiting.

        Args:
            begun_before: The result of `begin_wait`.
            begun: Whether the job has a process. If not, it is returned to the queue.
        """
        self._waiting -= 1
        if begun:
            self._begun += 1
        else:
            self._limit = max(1, self._begun - begun_before)
            self._limited_at = time.monotonic()
        self.changed()

    def room(self, free: int, claiming: Callable[[], int]) -> int:
        """Return how many jobs may be taken.

        Args:
            free: How many slots are free.
            claiming: Counts the jobs that were taken and are not claimed yet: they may need a process. Called only if
                needed, because a count over many slots for each job would be expensive.
        """
        if self._limit is None:
            return free
        now = time.monotonic()
        if now - self._limited_at >= _WINDOW_SECONDS:
            self._limit, self._limited_at = self._limit * 2, now
        taken = self._waiting + claiming()
        if self._limit >= free + taken:
            self._limit = None
            return free
        return min(free, max(0, self._limit - taken))
