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
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from services.kit.cache import keys as cache_keys
from services.kit.cache.cache import Cache
from services.kit.cache.keys import Key
from services.kit.cache.messages import decode, encode
from services.kit.settings import RedisSettings

log = structlog.get_logger(__name__)

_CHANNEL = "cache:invalidations"
_POLL_SECONDS = 1.0
# Above the time of a poll: a quiet channel is no failure.
_SOCKET_TIMEOUT_SECONDS = 5.0
_BACKOFF_MIN = 0.1
_BACKOFF_MAX = 2.0
_PENDING_MAX = 1000


def redis_client(settings: RedisSettings) -> redis.Redis:
    """Makes the client for `Invalidations`: without retries, because the loops know better what a new try needs."""
    client: redis.Redis = redis.Redis.from_url(
        settings.url.get_secret_value(),
        socket_timeout=_SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=settings.command_timeout_seconds,
        retry=Retry(NoBackoff(), 0),
    )
    return client


class Invalidations:
    """Tells other processes what has changed, and the caches of this one what changed elsewhere.

    Args:
        client: Made by `redis_client`; not closed here.
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
        self._poll_seconds = poll_seconds
        self._pending_max = pending_max
        self._instance = uuid4()
        self._caches: dict[str, Cache[Any, Any]] = {}
        # By cache; each change once, however often it happened. None: everything.
        self._pending: dict[str, set[str] | None] = {}
        self._wake = asyncio.Event()
        self._subscribed = False

    @property
    def instance(self) -> UUID:
        """What this process calls itself in its messages."""
        return self._instance

    @property
    def subscribed(self) -> bool:
        """Whether changes elsewhere are heard of at the moment, as far as is known."""
        return self._subscribed

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
        tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._receive())]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def flush(self) -> None:
        """Sends what was noted, once, before the process ends. What fails is left to the time limit of the values."""
        try:
            await self._send_pending()
        except (RedisError, OSError) as error:
            log.warning("cache invalidations lost", problem=f"{type(error).__name__}: {error}")

    def _note(self, cache: str, dumped: set[str] | None) -> None:
        pending = self._pending.setdefault(cache, set())
        if pending is None:
            return
        if dumped is None or len(pending | dumped) > self._pending_max:
            self._pending[cache] = None
        else:
            pending |= dumped

    async def _send(self) -> None:
        backoff_seconds = 0.0
        while True:
            self._wake.clear()
            try:
                await self._send_pending()
            except (RedisError, OSError) as error:
                if not backoff_seconds:
                    log.warning("cache invalidations wait", problem=f"{type(error).__name__}: {error}")
                backoff_seconds = _longer(backoff_seconds)
                await asyncio.sleep(backoff_seconds)
                continue
            if backoff_seconds:
                log.info("cache invalidations sent")
                backoff_seconds = 0.0
            await self._wake.wait()

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

    async def _receive(self) -> None:
        backoff_seconds = 0.0
        while True:
            try:
                async with self._client.pubsub() as subscription:
                    await subscription.subscribe(self._channel)
                    await self._listen(subscription)
            except (RedisError, OSError) as error:
                # Again and again only if it was not subscribed in between.
                if self._subscribed or not backoff_seconds:
                    log.warning("cache subscription lost", problem=f"{type(error).__name__}: {error}")
                backoff_seconds = _longer(0.0 if self._subscribed else backoff_seconds)
            finally:
                self._subscribed = False
            await asyncio.sleep(backoff_seconds)

    async def _listen(self, subscription: PubSub) -> None:
        asked = False
        while True:
            message = await subscription.get_message(timeout=self._poll_seconds)
            if message is not None:
                asked = False
                self._take(message["type"], message["data"])
            elif asked:
                raise redis.ConnectionError("no answer to a ping")
            else:
                asked = True
                await subscription.ping()

    def _take(self, kind: str, data: Any) -> None:
        if kind == "subscribe":
            # The client also subscribes again by itself when it finds its connection closed.
            self._subscribed = True
            self._empty_all()
            log.info("cache subscription begun", caches=sorted(self._caches))
        elif kind == "message":
            self._apply(data)

    def _apply(self, data: bytes | str) -> None:
        try:
            told = decode(data)
        except ValueError as error:
            log.warning("cache message not understood", problem=str(error))
            self._empty_all()
            return
        cache = self._caches.get(told.cache)
        if cache is not None and told.sender != self._instance:
            cache.forget(told.keys)

    def _empty_all(self) -> None:
        for cache in self._caches.values():
            cache.forget(None)


def _longer(backoff_seconds: float) -> float:
    return min(max(2 * backoff_seconds, _BACKOFF_MIN), _BACKOFF_MAX)
