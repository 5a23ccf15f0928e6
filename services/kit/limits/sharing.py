"""Sharing of buckets by all processes of a service, through Redis.

A call is decided by its process alone, and never waits for Redis. The process reports what was used, for all buckets
together, a tenth of a second later, or immediately if an eighth of a burst is unreported; the response holds the levels
that all processes have together. Each process admits what it knows to be allowed. So, for N processes, a burst can be
larger than allowed by what the other N - 1 admit between two reports: an eighth of the burst each and what arrives
within one round trip to Redis, at most one burst each. The level then is above the burst, and the excess is waited for:
over a longer time the rate is kept exactly.

While Redis is unavailable, each process limits by itself; nothing is refused because of it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import chain
from typing import Final

import redis.asyncio as redis
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from innosystem.shared.redis_connections import connect
from services.kit.background import Loop
from services.kit.limits.buckets import Bucket, Buckets, Key
from services.kit.limits.limits import Limits
from services.kit.limits.settings import LimitSettings
from services.kit.redis.failures import REDIS_FAILURES
from services.kit.settings import RedisSettings

log = structlog.get_logger(__name__)

_EVERY: Final = timedelta(seconds=0.1)
_BACKOFF_SECONDS_MAX: Final = 2.0
_REPORT_MAX: Final = 500

# A level is stored with its time, that of Redis, and drains on paper. It expires when it has drained, after ten days at
# the latest. A clock that went back after a failover drains nothing for that long.
_REPORT: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local levels = {}
for i, key in ipairs(KEYS) do
    local rate, used = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    local level, at = string.match(redis.call('GET', key) or '', '^(%S+) (%S+)$')
    level = used + (level and math.max(0, level - math.max(0, now - at) * rate) or 0)
    local expiry = math.min(math.ceil(level / rate * 1000) + 1000, 864000000)
    redis.call('SET', key, string.format('%.17g %.6f', level, now), 'PX', expiry)
    levels[i] = string.format('%.17g', level)
end
return levels
"""


def redis_client(settings: RedisSettings) -> redis.Redis:
    """Create the client for reports, without retries: the loop retries."""
    return connect(
        settings.url.get_secret_value(),
        lifetime_seconds=settings.connection_lifetime_seconds,
        socket_timeout=settings.command_timeout_seconds,
        socket_connect_timeout=settings.command_timeout_seconds,
        retry=Retry(NoBackoff(), 0),
    )


class Sharing:
    """The reports of one process.

    Args:
        buckets: The buckets of the process.
        client: Created by `redis_client`; not closed here.
        prefix: The prefix of all keys.
        service: The name of the service, which counts for itself.
    """

    def __init__(self, buckets: Buckets, client: redis.Redis, prefix: str, service: str) -> None:
        self._buckets = buckets
        self._script = client.register_script(_REPORT)
        self._prefix = f"{prefix}limits:{service}"
        self._failing = False
        self._loop = Loop(
            "limits",
            self._report,
            every=_EVERY,
            woken=buckets.urgent,
            known=REDIS_FAILURES,
            backoff_seconds_max=_BACKOFF_SECONDS_MAX,
        )

    async def run(self) -> None:
        """Report until cancelled."""
        await self._loop.run()

    async def _report(self) -> None:
        await self._buckets.used.wait()
        while taken := self._buckets.take_used(_REPORT_MAX):
            await self._report_some(taken)

    async def _report_some(self, taken: Mapping[Key, Bucket]) -> None:
        keys = [f"{self._prefix}:{limit}:{subject}" for limit, subject in taken]
        if self._failing:
            for bucket in taken.values():
                self._buckets.forgive_drained(bucket)
        rates = [bucket.rate.per_second for bucket in taken.values()]
        used = [bucket.unreported for bucket in taken.values()]
        levels: Sequence[bytes] = ()
        try:
            numbers = chain.from_iterable(zip(rates, used, strict=True))
            levels = await self._script(keys=keys, args=[f"{number:.17g}" for number in numbers])
        finally:
            self._failing = not levels
            if self._failing:
                for key, bucket in taken.items():
                    self._buckets.not_reported(key, bucket)
        for bucket, cost, level in zip(taken.values(), used, levels, strict=True):
            self._buckets.reported(bucket, cost, float(level))


@asynccontextmanager
async def open_limits(service: str, settings: LimitSettings, address: RedisSettings | None) -> AsyncIterator[Limits]:
    """Open the limits of a service, shared over Redis; without Redis each process limits by itself."""
    if address is None:
        log.warning("redis_not_configured", consequence="each process limits its callers by itself")
        yield Limits(settings)
        return
    async with redis_client(address) as client:
        buckets = Buckets(shared=True)
        yield Limits(settings, buckets, (Sharing(buckets, client, address.key_prefix, service).run,))
