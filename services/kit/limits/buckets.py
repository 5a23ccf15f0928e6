"""Token buckets in the memory of a process (GCRA, as a meter that drains).

A bucket's level is what was used and has not drained yet. It drains at the rate of its limit, down to empty. A charge
is accepted if the level stays within the burst. A charge above the burst, such as that of a large batch, is accepted by
an empty bucket; the level then is above the burst, and further charges wait for longer.
"""

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Final, NamedTuple

from services.kit.errors import RateLimited
from services.kit.rates import Rate

# Far below one token, and far above the error of a sum of floating-point numbers.
_TOLERANCE: Final = 1e-6
# With this part of a burst used, other processes are informed immediately.
_URGENT_PART: Final = 1 / 8
_SIZE_MAX: Final = 10_000
_SWEEP_SIZE_MIN: Final = 1_000


class Charge(NamedTuple):
    """What a call costs.

    Attributes:
        limit: The name of the limit, in errors and metrics.
        subject: Who is limited: an actor or the ID of a customer.
        rate: The present limit.
        cost: The number of requests, jobs or bytes.
    """

    limit: str
    subject: Hashable
    rate: Rate
    cost: float


class Bucket:
    """What one subject has used of one limit.

    Attributes:
        rate: The limit, as of the last charge.
        unreported: The part of the use that other processes do not know of.
        noted: Whether it is among those to be reported.
    """

    __slots__ = ("_at", "_level", "noted", "rate", "unreported")

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate = rate
        self.unreported = 0.0
        self.noted = False
        self._level = 0.0
        self._at = now

    def level(self, now: float) -> float:
        """Return what was used and has not drained yet."""
        self._level = max(0.0, self._level - (now - self._at) * self.rate.per_second)
        self._at = now
        return self._level

    def wait_seconds(self, cost: float, now: float) -> float:
        """Return when there will be room for a charge, in seconds; 0 if there is now."""
        lacking = self.level(now) + min(cost, self.rate.burst) - self.rate.burst
        return lacking / self.rate.per_second if lacking > _TOLERANCE else 0.0

    def add(self, cost: float) -> None:
        """Charge."""
        self._level += cost

    def reported(self, used: float, level: float, now: float) -> None:
        """Take over the level that all processes have together after a report of some use."""
        self.unreported -= used
        self._level = level + self.unreported
        self._at = now


Key = tuple[str, Hashable]


class Buckets:
    """The buckets of a process. It holds those in use: an empty bucket is like one that does not exist.

    Args:
        shared: Whether the use is reported to other processes, by `services.kit.limits.sharing`.
        clock: Returns a monotonic time in seconds.
        size_max: The maximum number of buckets. Beyond, the oldest ones are dropped, which forgives their use as far as
            it is not reported.
    """

    def __init__(
        self, *, shared: bool = False, clock: Callable[[], float] = time.monotonic, size_max: int = _SIZE_MAX
    ) -> None:
        self._shared = shared
        self._clock = clock
        self._size_max = size_max
        self._sweep_at = min(_SWEEP_SIZE_MIN, size_max)
        self._buckets: dict[Key, Bucket] = {}
        self._used: dict[Key, Bucket] = {}
        self.used = asyncio.Event()
        self.urgent = asyncio.Event()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, charges: Sequence[Charge], *, only_look: bool = False) -> None:
        """Charge all, or none of them.

        Args:
            charges: What a call costs.
            only_look: Whether to charge nothing.

        Raises:
            RateLimited: If one of the limits is used up.
        """
        now = self._clock()
        buckets = []
        for limit, subject, rate, cost in charges:
            bucket = self._buckets.get((limit, subject)) or self._add((limit, subject), rate, now)
            # Up to now it has drained at the former rate.
            if bucket.rate is not rate:
                bucket.level(now)
                bucket.rate = rate
            if wait := bucket.wait_seconds(cost, now):
                raise RateLimited(limit, str(rate), wait)
            buckets.append(bucket)
        if only_look:
            return
        for bucket, charge in zip(buckets, charges, strict=True):
            bucket.add(charge.cost)
            if self._shared:
                bucket.unreported += charge.cost
                self._note(charge[:2], bucket)
                if bucket.unreported >= charge.rate.burst * _URGENT_PART:
                    self.urgent.set()

    @property
    def all_reported(self) -> bool:
        """Whether other processes know everything."""
        return not any(one.unreported for one in self._buckets.values())

    def take_used(self, count_max: int) -> dict[Key, Bucket]:
        """Return buckets with unreported use, each once until it is used again."""
        taken = {key: self._used.pop(key) for key in list(self._used)[:count_max]}
        for bucket in taken.values():
            bucket.noted = False
        if not self._used:
            self.used.clear()
        return taken

    def reported(self, bucket: Bucket, used: float, level: float) -> None:
        """Take over the level of a bucket that all processes have together after a report of some use."""
        bucket.reported(used, level, self._clock())

    def not_reported(self, key: Key, bucket: Bucket) -> None:
        """Keep the use of a bucket for the next report."""
        self._note(key, bucket)

    def forgive_drained(self, bucket: Bucket) -> None:
        """Forget the use of a bucket that has drained before it could be reported."""
        bucket.unreported = min(bucket.unreported, bucket.level(self._clock()))

    def _note(self, key: Key, bucket: Bucket) -> None:
        if not bucket.noted and bucket.unreported:
            bucket.noted = True
            self._used[key] = bucket
            self.used.set()

    def _add(self, key: Key, rate: Rate, now: float) -> Bucket:
        if len(self._buckets) >= self._sweep_at:
            self._sweep(now)
        bucket = self._buckets[key] = Bucket(rate, now)
        return bucket

    def _sweep(self, now: float) -> None:
        """Drop empty buckets, and the oldest ones beyond the maximum. A sweep is followed by as many additions."""
        self._buckets = {key: one for key, one in self._buckets.items() if one.unreported or one.level(now) > 0}
        if len(self._buckets) >= self._size_max:
            for key in list(self._buckets)[: max(1, self._size_max // 10)]:
                del self._buckets[key]
                self._used.pop(key, None)
        self._sweep_at = min(max(2 * len(self._buckets), _SWEEP_SIZE_MIN), self._size_max)
