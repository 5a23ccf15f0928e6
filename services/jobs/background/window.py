"""How much of what waits a list is to hold: as much as runners take in a second, and of nobody too much.

A list is first in, first out, so whatever is in it has to be run before a customer who comes now has a turn. What is
not in it waits in the database, where turns are taken.
"""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from services.jobs.rules.entities import NewJob

# So much work a list is to hold: runners never wait for a feed, and who comes now waits no longer than this.
_SECONDS = 1.0
# The shortest time over which it is measured how fast a list is emptied. By then half of what was known is forgotten.
_MEASURED_SECONDS = 0.2
# Nobody knows whether there was anything to take for longer than this.
_MEASURED_SECONDS_MAX = 5.0
# As long as nothing has been measured.
_RATE_FIRST = 1000.0
_LENGTH_MIN = 16
# A longer list is taken back from, so that a list that was filled for fast jobs is not in the way of slow ones.
_EXCESS = 4
# Not before it has been so for a while: what one replica takes back looks to the others as if runners had taken it.
_EXCESS_SECONDS = 5.0
# Beyond this nobody's jobs are handed over at once. Handing them over later costs a statement for each thousand.
_CEILING = 16
# So many jobs a customer may have in a list that holds enough already. Those that have few need no turns.
_SHARE = 32
_PAUSE_SECONDS_MIN = 0.05
_PAUSE_SECONDS_MAX = 0.5


class Window:
    """What one list is to hold. It knows of the list what pushes and looks tell.

    Args:
        most: How many IDs the list is to hold at most.
        now: The time on a clock that only goes forward; so is every other `now`.
    """

    def __init__(self, most: int, now: float) -> None:
        self._most = most
        self._rate = _RATE_FIRST
        self._length = 0
        self._seen_at = now
        self._measured_from = now
        # How long the list would be by now if nobody had taken anything since.
        self._untaken = 0
        self._excess_since: float | None = None
        self._shares = _Shares()

    @property
    def target(self) -> int:
        """How long the list is to be."""
        return max(1, min(max(round(self._rate * _SECONDS), _LENGTH_MIN), self._most))

    @property
    def needs_looks(self) -> bool:
        """Whether the list holds so much that it matters how fast it is emptied."""
        return self._length > _LENGTH_MIN

    def saw(self, length: int, now: float) -> None:
        """Note how long the list is, and measure how fast it is emptied."""
        elapsed = now - self._measured_from
        rate = max(self._untaken - length, 0) / max(elapsed, _MEASURED_SECONDS)
        if length <= 0:
            # It may have been empty for long: they take no less than that.
            self._rate = max(self._rate, rate)
        elif _MEASURED_SECONDS <= elapsed <= _MEASURED_SECONDS_MAX and (
            # Only a list that is nearly empty has to hold more.
            rate < self._rate or length <= self.target // 4
        ):
            kept = 0.5 ** (elapsed / _MEASURED_SECONDS)
            self._rate = kept * self._rate + (1 - kept) * rate
        if length <= 0 or elapsed >= _MEASURED_SECONDS:
            self._measured_from, self._untaken = now, max(length, 0)
        self._length, self._seen_at = length, now

    def pushed(self, count: int, length: int, now: float) -> None:
        """Note that jobs were pushed, and how long the list is with them."""
        self.saw(length - count, now)
        self._untaken += count
        self._length = length

    def starved(self) -> None:
        """Note that the list is empty although it was fed, and more jobs wait: it is to hold twice as many."""
        self._rate = min(2 * max(self._rate, self.target / _SECONDS), self._most / _SECONDS)

    def room(self, length: int) -> int:
        """How many IDs are to be fed: none before half are gone, because feeding single IDs costs a statement each."""
        return self.target - length if length <= self.target // 2 else 0

    def excess(self, length: int, now: float) -> int:
        """How many IDs are to be taken back, so that others have their turn."""
        if length <= _EXCESS * self.target:
            self._excess_since = None
            return 0
        if self._excess_since is None:
            self._excess_since = now
        return length - self.target if now - self._excess_since >= _EXCESS_SECONDS else 0

    def taken_back(self, count: int) -> None:
        """Note that jobs were taken back, which no runner has taken."""
        self._length -= count
        self._untaken -= count

    def pause_seconds(self) -> float:
        """How long it takes until there may be room again."""
        seconds = (self._length - self.target / 2) / max(self._rate, 1.0)
        return min(max(seconds, _PAUSE_SECONDS_MIN), _PAUSE_SECONDS_MAX)

    def beyond(self, jobs: Sequence[NewJob], now: float) -> list[NewJob]:
        """Choose the jobs that are not to be handed over at once.

        As long as the list is short, anybody's are. While it holds enough, only those of customers that have few in it.
        """
        length = max(0, round(self._length - self._rate * (now - self._seen_at)))
        # What is known may be long ago: if it was full then, the feed finds out what it is now.
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
    """Counts for each customer what was handed over while a list held enough, for as long as it may be in the list.

    What was handed over before the last as many as the list is long has been taken since. So two counts are kept, the
    one of now and the one before, and the older is dropped when as many were counted as the list holds.
    """

    def __init__(self) -> None:
        self._now: Counter[UUID] = Counter()
        self._before: Counter[UUID] = Counter()
        self._counted = 0

    def turn_over(self, length: int) -> None:
        """Forget what is not in the list any more."""
        if self._counted >= length:
            self._before, self._now, self._counted = self._now, Counter(), 0

    def take(self, customer_id: UUID) -> bool:
        """Take one of a customer's share; False if it has none left."""
        if self._now[customer_id] + self._before[customer_id] >= _SHARE:
            return False
        self._now[customer_id] += 1
        self._counted += 1
        return True
