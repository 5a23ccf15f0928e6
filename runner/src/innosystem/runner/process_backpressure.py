"""Keeps a runner from taking more jobs for processes than it can begin with."""

import time
from collections.abc import Callable
from typing import Final

_WINDOW_SECONDS: Final = 1.0


class ProcessBackpressure:
    """Counts the jobs that wait for a process, and bounds how many jobs are taken once some had to be handed back.

    Which jobs need a process is seen when they have been claimed. So as long as none had to be handed back nothing is
    bounded. After that no more jobs are taken at a time than processes began with while the one that was handed back
    waited, at least one; each second without a job handed back doubles that. Two runners that are full so pass one
    job a second between them, and not all that wait.

    Attributes:
        changed: Called when there may be more or less room.
        parked: How many suspects wait for a process: their slots are free for others.
    """

    def __init__(self) -> None:
        self.changed: Callable[[], None] = lambda: None
        self.parked = 0
        self._waiting = 0
        self._begun = 0
        self._limit: int | None = None
        self._limited_at = 0.0

    def park(self, jobs: int) -> None:
        """Count suspects that wait from now on, or, if it is negative, do not any more."""
        self.parked += jobs
        self.changed()

    def begin_wait(self) -> int:
        """Count a job that waits from now on; the answer is for `waited`."""
        self._waiting += 1
        return self._begun

    def end_wait(self, begun_before: int, *, begun: bool) -> None:
        """Count a job that does not wait any more.

        Args:
            begun_before: What `waits` answered.
            begun: Whether it has a process. If not, it is handed back.
        """
        self._waiting -= 1
        if begun:
            self._begun += 1
        else:
            self._limit = max(1, self._begun - begun_before)
            self._limited_at = time.monotonic()
        self.changed()

    def room(self, free: int, claiming: Callable[[], int]) -> int:
        """Tell how many jobs may be taken.

        Args:
            free: How many slots are free.
            claiming: Counts the jobs that were taken and are not claimed yet: they may need a process. It is asked only
                where that matters, since a count for each job that comes or goes is much for many slots.
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
