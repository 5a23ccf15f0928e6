"""Decides how many jobs a list holds: as many as runners take in a second, and only a share of each customer.

A list is first in, first out: all jobs in it run before a customer who submits now has a turn. The other jobs wait in
the database, where customers take turns.
"""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from services.jobs.rules.entities import NewJob

# The work that a list holds: runners never wait for a feed, and a new customer waits no longer than this.
_SECONDS = 1.0
# The shortest time over which the rate is measured. After this time the previous rate has half of its weight.
_MEASURED_SECONDS = 0.2
# Over a longer time the list may have been empty meanwhile, so the rate is unknown.
_MEASURED_SECONDS_MAX = 5.0
# Before the first measurement.
_RATE_FIRST = 1000.0
_LENGTH_MIN = 16
# Jobs of a list that is longer than so many targets are withheld again: a list filled for fast jobs must not keep
# others waiting behind slow ones.
_EXCESS = 4
# The excess must last: jobs that one replica takes back look to the others as if runners had taken them.
_EXCESS_SECONDS = 5.0
# Beyond so many targets all new jobs are withheld. Feeding them later costs a statement for each thousand.
_CEILING = 16
# How many jobs of a customer enter a list that holds enough already. Customers with few jobs need no turns.
_SHARE = 32
_PAUSE_SECONDS_MIN = 0.05
_PAUSE_SECONDS_MAX = 0.5


class Window:
    """The target length of one list, estimated from the lengths that pushes and looks report.

    Args:
        most: The largest number of IDs in the list.
        now: The time on a monotonic clock; so is every other `now`.
    """

    def __init__(self, most: int, now: float) -> None:
        self._most = most
        self._rate = _RATE_FIRST
        self._length = 0
        self._seen_at = now
        self._measured_from = now
        # The length that the list would have if no runner had taken anything since.
        self._untaken = 0
        self._excess_since: float | None = None
        self._shares = _Shares()

    @property
    def target(self) -> int:
        """The length that the list should have."""
        return max(1, min(max(round(self._rate * _SECONDS), _LENGTH_MIN), self._most))

    @property
    def needs_looks(self) -> bool:
        """Whether the list is long enough for its rate to matter."""
        return self._length > _LENGTH_MIN

    def saw(self, length: int, now: float) -> None:
        """Note the length of the list, and measure how fast runners empty it."""
        elapsed = now - self._measured_from
        rate = max(self._untaken - length, 0) / max(elapsed, _MEASURED_SECONDS)
        if length <= 0:
            # The list may have been empty for long: the true rate is at least this.
            self._rate = max(self._rate, rate)
        elif _MEASURED_SECONDS <= elapsed <= _MEASURED_SECONDS_MAX and (
            # Only a list that is nearly empty needs a higher target.
            rate < self._rate or length <= self.target // 4
        ):
            kept = 0.5 ** (elapsed / _MEASURED_SECONDS)
            self._rate = kept * self._rate + (1 - kept) * rate
        if length <= 0 or elapsed >= _MEASURED_SECONDS:
            self._measured_from, self._untaken = now, max(length, 0)
        self._length, self._seen_at = length, now

    def pushed(self, count: int, length: int, now: float) -> None:
        """Note that jobs were pushed, and the length of the list with them."""
        self.saw(length - count, now)
        self._untaken += count
        self._length = length

    def starved(self) -> None:
        """Double the target: the list is empty although it was fed, and more jobs wait."""
        self._rate = min(2 * max(self._rate, self.target / _SECONDS), self._most / _SECONDS)

    def room(self, length: int) -> int:
        """Return how many IDs to feed: none before half are gone, because feeding single IDs costs a statement each."""
        return self.target - length if length <= self.target // 2 else 0

    def excess(self, length: int, now: float) -> int:
        """Return how many IDs to take back, so that other customers have their turn."""
        if length <= _EXCESS * self.target:
            self._excess_since = None
            return 0
        if self._excess_since is None:
            self._excess_since = now
        return length - self.target if now - self._excess_since >= _EXCESS_SECONDS else 0

    def taken_back(self, count: int) -> None:
        """Note that jobs were taken back by the feed, not by runners."""
        self._length -= count
        self._untaken -= count

    def pause_seconds(self) -> float:
        """Return the time after which the list may have room again."""
        seconds = (self._length - self.target / 2) / max(self._rate, 1.0)
        return min(max(seconds, _PAUSE_SECONDS_MIN), _PAUSE_SECONDS_MAX)

    def beyond(self, jobs: Sequence[NewJob], now: float) -> list[NewJob]:
        """Return the jobs to withhold.

        While the list is short, none. While it holds enough, all but a few jobs of each customer.
        """
        length = max(0, round(self._length - self._rate * (now - self._seen_at)))
        # The known length may be old: if the list was full then, the feed finds its present length.
        known = self._length
        if length + len(jobs) <= self.target and known + len(jobs) <= self._most:
            return []
        ceiling = min(_CEILING * self.target, self._most)
        self._shares.turn_over(length)
        found: list[NewJob] = []
        for job in jobs:
            fits = length < self.target or (length < ceiling and self._shares.take(job.customer_id))
            if fits and known < self._most:
                length, known = length + 1, known + 1
            else:
                found.append(job)
        return found


class _Shares:
    """The number of each customer's jobs that entered a list while it held enough, as long as they may be in the list.

    Jobs that were dispatched earlier than the last `length` jobs have been taken since. So two counts are kept, the
    present and the previous one, and the previous is dropped whenever as many jobs were counted as the list holds.
    """

    def __init__(self) -> None:
        self._now: Counter[UUID] = Counter()
        self._before: Counter[UUID] = Counter()
        self._counted = 0

    def turn_over(self, length: int) -> None:
        """Drop the previous count if its jobs can no longer be in the list."""
        if self._counted >= length:
            self._before, self._now, self._counted = self._now, Counter(), 0

    def take(self, customer_id: UUID) -> bool:
        """Count a job of a customer; return False if the customer's share is used up."""
        if self._now[customer_id] + self._before[customer_id] >= _SHARE:
            return False
        self._now[customer_id] += 1
        self._counted += 1
        return True
