"""Invalidation across processes, by Redis pub/sub.

Correctness does not depend on messages: each value expires after `ttl_seconds` anyway, and a message only makes it
expire earlier. A change therefore never waits for Redis and never fails because of it. A new subscription may have
missed messages: whenever it begins, for the first time or again, all caches are cleared.
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
    """Publishes the changes of this process, and applies the changes of other processes to its caches.

    Args:
        client: Created by `services.kit.redis.pubsub.redis_client`; not closed here.
        prefix: The prefix of the channel's name, as of all keys.
        poll_seconds: After how long a silence Redis is pinged. A silence of the same length after the ping means that
            the subscription is lost.
        pending_max: How many keys of one cache may wait to be sent; beyond, the whole cache is invalidated.
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
        # By cache; each key once, however often it changed. None: all keys.
        self._pending: dict[str, set[str] | None] = {}
        self._wake = asyncio.Event()
        self._sending = Loop(
            "cache invalidations", self._send, known=REDIS_FAILURES, backoff_seconds_max=_BACKOFF_SECONDS_MAX
        )

    @property
    def instance(self) -> UUID:
        """The name of this process in its messages."""
        return self._instance

    @property
    def subscribed(self) -> bool:
        """Whether this process currently receives the changes of others, as far as it can tell."""
        return self._subscription.subscribed

    def join(self, *caches: Cache[Any, Any]) -> None:
        """Publish the changes of caches, and apply the changes of other processes to them.

        Raises:
            ReadOnlyCache: If the strategy of a cache is READ_ONLY: it has no changes.
            ValueError: If two caches have the same name.
        """
        for cache in caches:
            if cache.name in self._caches:
                raise ValueError(f"two caches have the name {cache.name}")
            cache.publish_to(self.put)
            self._caches[cache.name] = cache

    def put(self, cache: str, keys: Collection[Key] | None) -> None:
        """Record a change without waiting; `run` sends it.

        Args:
            cache: The name of the cache, which may exist in other processes only.
            keys: The changed keys; None for all.
        """
        self._note(cache, None if keys is None else {cache_keys.dump(key) for key in keys})
        self._wake.set()

    async def run(self) -> None:
        """Send and receive until cancelled, retrying while Redis is unavailable."""
        await together(self.send(), self._subscription.run())

    async def send(self) -> None:
        """Only send until cancelled: for a process without caches of its own."""
        await self._sending.run()

    async def flush(self) -> None:
        """Send pending changes, once, before the process ends. After a failure, the values' time limit applies."""
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
                # Including a message in progress when the process was stopped: dropping keys twice is harmless.
                if not sent:
                    self._note(cache, dumped)

    def _apply(self, data: bytes | str) -> None:
        try:
            change = decode(data)
        except ValueError as error:
            log.warning("cache_message_not_understood", error=str(error))
            self._empty_all()
            return
        cache = self._caches.get(change.cache)
        if cache is not None and change.sender != self._instance:
            cache.forget(change.keys)

    def _empty_all(self) -> None:
        for cache in self._caches.values():
            cache.forget(None)
