"""Tells other services that what they remember of a customer is out of date.

They forget it within milliseconds. Nothing waits for a message, and none is sure to arrive: what they remember ends by
itself after `JOBS_CACHE_TTL_SECONDS`.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from services.customers.usecases.customers import Changed
from services.kit.cache.invalidations import Invalidations
from services.kit.cache.names import CUSTOMERS
from services.kit.redis.pubsub import redis_client
from services.kit.settings import RedisSettings

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Announcements:
    """How changes are told.

    Attributes:
        changed: Notes that a customer has changed.
        background: What sends it.
    """

    changed: Changed
    background: Sequence[Callable[[], Coroutine[Any, Any, None]]]


@asynccontextmanager
async def announcements(settings: RedisSettings | None) -> AsyncIterator[Announcements]:
    """Open what changes are told by, over Redis; without Redis nobody is told."""
    if settings is None:
        log.warning("REDIS_URL is not set: other services notice changes of customers only when their caches end")
        yield Announcements(lambda _customer_id: None, ())
        return
    async with redis_client(settings) as client:
        invalidations = Invalidations(client, settings.key_prefix)
        try:
            yield Announcements(lambda customer_id: invalidations.put(CUSTOMERS, (customer_id,)), (invalidations.send,))
        finally:
            await invalidations.flush()
