"""Invalidation across processes, by Redis pub/sub.

Nothing depends on it arriving: each value ends with its time (`ttl_seconds`) anyway, and messages make that moment
earlier. So a change never waits for Redis and never fails because of it. Messages that may have been missed count as
if everything had changed: whenever the subscription begins, for the first time or again, all caches are emptied.
"""

import asyncio
from collections.abc import Collection
from typing import Any
from uuid import UUID, uuid4

import redis.asyncio as redis
import structlog

from services.kit.background import Loop, together
from services.kit.cache import keys as cache_keys
from services.kit.cache.cache import Cache
from services.kit.cache.keys import Key
from services.kit.cache.messages import decode, encode
from services.kit.redis.failures import REDIS_FAILURES
from services.kit.redis.pubsub import Subscription

log = structlog.get_logger(__name__)

_CHANNEL = "cache:invalidations"
_POLL_SECONDS = 1.0
_PENDING_MAX = 1000
_BACKOFF_SECONDS_MAX = 2.0


class Invalidations:
    """Tells other processes what has changed, and the caches of this one what changed elsewhere.

    Args:
        client: Made by `services.kit.redis.pubsub.redis_client`; not closed here.
        prefix: Put before the name of the channel, as before all keys.
        poll_seconds: After how long a silence Redis is asked for a sign of life. None within the same time again
            means that the subscription is lost.
        pending_max: How many keys of one cache may wait to be sent; of more, everything is told to be dropped.
    """

    def __init__(
        self,
        client: redis.Redis,
        prefix: str = "",
        *,
        poll_seconds: float = _POLL_SECONDS,
        pending_max: int = _PENDING_MAX,
    ) -> None:
        self._client = client
        self._channel = f"{prefix}{_CHANNEL}"
        self._subscription = Subscription(
            client, self._channel, receive=self._apply, begin=self._empty_all, poll_seconds=poll_seconds
        )
        self._pending_max = pending_max
        self._instance = uuid4()
        self._caches: dict[str, Cache[Any, Any]] = {}
        # By cache; each change once, however often it happened. None: everything.
        self._pending: dict[str, set[str] | None] = {}
        self._wake = asyncio.Event()
        self._sending = Loop(
            "cache invalidations", self._send, known=REDIS_FAILURES, backoff_seconds_max=_BACKOFF_SECONDS_MAX
        )

    @property
    def instance(self) -> UUID:
        """What this process calls itself in its messages."""
        return self._instance

    @property
    def subscribed(self) -> bool:
        """Whether changes elsewhere are heard of at the moment, as far as is known."""
        return self._subscription.subscribed

    def join(self, *caches: Cache[Any, Any]) -> None:
        """Tells of what is dropped from caches, and drops from them what others tell of.

        Raises:
            ReadOnlyCache: If the strategy of one is READ_ONLY: there is nothing to tell of.
            ValueError: If there are two of the same name.
        """
        for cache in caches:
            if cache.name in self._caches:
                raise ValueError(f"there are two caches {cache.name}")
            cache.publish_to(self.put)
            self._caches[cache.name] = cache

    def put(self, cache: str, keys: Collection[Key] | None) -> None:
        """Notes a change; `run` sends it, and nobody waits for it.

        Args:
            cache: The name of the cache, which need not exist in this process.
            keys: What changed; None for everything.
        """
        self._note(cache, None if keys is None else {cache_keys.dump(key) for key in keys})
        self._wake.set()

    async def run(self) -> None:
        """Sends and receives until it is cancelled. While Redis is away it tries again and again."""
        await together(self.send(), self._subscription.run())

    async def send(self) -> None:
        """Only send until it is cancelled, as a process does that remembers nothing of its own."""
        await self._sending.run()

    async def flush(self) -> None:
        """Sends what was noted, once, before the process ends. What fails is left to the time limit of the values."""
        try:
            await self._send_pending()
        except REDIS_FAILURES as error:
            log.warning("cache_invalidations_lost", error=f"{type(error).__name__}: {error}")

    def _note(self, cache: str, dumped: set[str] | None) -> None:
        pending = self._pending.setdefault(cache, set())
        if pending is None:
            return
        if dumped is None or len(pending | dumped) > self._pending_max:
            self._pending[cache] = None
        else:
            pending |= dumped

    async def _send(self) -> None:
        if not self._pending:
            await self._wake.wait()
        self._wake.clear()
        await self._send_pending()

    async def _send_pending(self) -> None:
        while self._pending:
            cache, dumped = self._pending.popitem()
            sent = False
            try:
                await self._client.publish(self._channel, encode(self._instance, cache, dumped))
                sent = True
            finally:
                # Also what was on its way when the process was told to end: dropping twice is harmless.
                if not sent:
                    self._note(cache, dumped)

    def _apply(self, data: bytes | str) -> None:
        try:
            told = decode(data)
        except ValueError as error:
            log.warning("cache_message_not_understood", error=str(error))
            self._empty_all()
            return
        cache = self._caches.get(told.cache)
        if cache is not None and told.sender != self._instance:
            cache.forget(told.keys)

    def _empty_all(self) -> None:
        for cache in self._caches.values():
            cache.forget(None)
