"""Announces changes of customers and API keys to caches, which forget them within milliseconds.

A message is neither awaited nor guaranteed to arrive: entries of those caches expire after `JOBS_CACHE_TTL_SECONDS`,
and API keys after `INNOSYSTEM_API_KEY_TTL_SECONDS`.
"""

from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from services.customers.usecases.ports import Changed, KeysChanged
from services.kit.cache.cache import Cache
from services.kit.cache.invalidations import Invalidations
from services.kit.cache.names import CUSTOMERS
from services.kit.redis.pubsub import redis_client
from services.kit.settings import RedisSettings

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Announcements:
    """The announcements of changes.

    Attributes:
        changed: Announces that a customer has changed.
        keys_changed: Announces that API keys end.
        background: Sends the announcements.
    """

    changed: Changed
    keys_changed: KeysChanged
    background: Sequence[Callable[[], Coroutine[Any, Any, None]]]


@asynccontextmanager
async def announcements(settings: RedisSettings | None, known_keys: Cache[str, Any]) -> AsyncIterator[Announcements]:
    """Open announcements over Redis; without Redis only this process forgets what has ended.

    Args:
        settings: The settings of Redis, if there is one.
        known_keys: The API keys that this process remembers, by their digests.
    """

    def keys_changed(hashes: Collection[bytes]) -> None:
        known_keys.invalidate([one.hex() for one in hashes])

    if settings is None:
        log.warning("redis_not_configured", consequence="other services notice changes when their caches expire")
        yield Announcements(lambda _customer_id: None, keys_changed, ())
        return
    async with redis_client(settings) as client:
        invalidations = Invalidations(client, settings.key_prefix)
        invalidations.join(known_keys)
        try:
            yield Announcements(
                lambda customer_id: invalidations.put(CUSTOMERS, (customer_id,)),
                keys_changed,
                (invalidations.run,),
            )
        finally:
            await invalidations.flush()
