"""Messages between the processes of a service, by Redis pub/sub. Messages may be lost: nothing may depend on one."""

from collections.abc import Callable

import redis.asyncio as redis
import structlog
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from innosystem.shared.redis_connections import connect
from services.kit.background import Loop
from services.kit.redis.failures import REDIS_FAILURES
from services.kit.settings import RedisSettings

log = structlog.get_logger(__name__)

# Above the time of a poll: a quiet channel is no failure.
_SOCKET_TIMEOUT_SECONDS = 5.0
_BACKOFF_MAX = 2.0


def redis_client(settings: RedisSettings) -> redis.Redis:
    """Create the client for `Subscription`, without retries: the subscription's loop retries."""
    return connect(
        settings.url.get_secret_value(),
        lifetime_seconds=settings.connection_lifetime_seconds,
        socket_timeout=_SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=settings.command_timeout_seconds,
        retry=Retry(NoBackoff(), 0),
    )


class Subscription:
    """A subscription to a channel, renewed without end when the connection is lost.

    Args:
        client: Created by `redis_client`; not closed here.
        channel: The channel's name.
        receive: Called with each message.
        begin: Called whenever the subscription begins, for the first time or again: messages may have been missed.
        poll_seconds: After how long a silence Redis is pinged. A silence of the same length after the ping means that
            the subscription is lost.
    """

    def __init__(
        self,
        client: redis.Redis,
        channel: str,
        *,
        receive: Callable[[bytes | str], None],
        begin: Callable[[], None],
        poll_seconds: float,
    ) -> None:
        self._client = client
        self._channel = channel
        self._receive = receive
        self._begin = begin
        self._poll_seconds = poll_seconds
        self.subscribed = False
        self._loop = Loop(
            f"subscription to {channel}", self._subscribe, known=REDIS_FAILURES, backoff_seconds_max=_BACKOFF_MAX
        )

    async def run(self) -> None:
        """Receive until the task is cancelled."""
        await self._loop.run()

    async def _subscribe(self) -> None:
        try:
            async with self._client.pubsub() as subscription:
                await subscription.subscribe(self._channel)
                await self._listen(subscription)
        finally:
            self.subscribed = False

    async def _listen(self, subscription: PubSub) -> None:
        asked = False
        # An old connection may lead to a former server of the address: the next round subscribes anew.
        while not getattr(subscription.connection, "is_old", False):
            message = await subscription.get_message(timeout=self._poll_seconds)
            if message is not None:
                asked = False
                if message["type"] == "subscribe":
                    # The client also subscribes again by itself when it finds its connection closed.
                    self.subscribed = True
                    self._loop.recovered()
                    self._begin()
                    log.debug("subscription_started", channel=self._channel)
                elif message["type"] == "message":
                    self._receive(message["data"])
            elif asked:
                raise redis.ConnectionError("no response to a ping")
            else:
                asked = True
                await subscription.ping()
