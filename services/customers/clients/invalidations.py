"""Announces changes of customers and API keys to caches, which forget them within milliseconds.

A message is neither awaited nor guaranteed to arrive: entries of those caches expire, customers after
`JOBS_CACHE_TTL_SECONDS`.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from services.customers.usecases.ports import Changed, KeysChanged
from services.kit.cache.invalidations import Invalidations
from services.kit.cache.names import API_KEYS, CUSTOMERS
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
async def announcements(settings: RedisSettings | None) -> AsyncIterator[Announcements]:
    """Open announcements over Redis; without Redis they are dropped."""
    if settings is None:
        log.warning("redis_not_configured", consequence="other services notice changes when their caches expire")
        yield Announcements(lambda _customer_id: None, lambda _hashes: None, ())
        return
    async with redis_client(settings) as client:
        invalidations = Invalidations(client, settings.key_prefix)
        try:
            yield Announcements(
                lambda customer_id: invalidations.put(CUSTOMERS, (customer_id,)),
                lambda hashes: invalidations.put(API_KEYS, [one.hex() for one in hashes]),
                (invalidations.send,),
            )
        finally:
            await invalidations.flush()
