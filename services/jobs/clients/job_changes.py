"""Messages about changed jobs between the processes of the service, over Redis pub/sub. They may be lost."""

import asyncio
from collections.abc import Collection
from uuid import UUID

import redis.asyncio as redis
from typing_extensions import override

from services.jobs.usecases.ports import Changes, Watchers
from services.kit.background import Loop, together
from services.kit.redis.failures import REDIS_FAILURES
from services.kit.redis.pubsub import Subscription

_CHANNEL = "jobs:changes"
_POLL_SECONDS = 1.0
_ID_BYTES = 16
_PENDING_MAX = 10_000
_BACKOFF_SECONDS_MAX = 2.0


class JobChanges(Changes):
    """Notifies the watchers of this process directly, and the watchers of other processes by messages.

    Args:
        watchers: The watchers of this process.
        client: Created by `services.kit.redis.pubsub.redis_client`; not closed here.
        prefix: Put before the name of the channel.
        poll_seconds: The silence after which Redis is asked for a sign of life.
    """

    def __init__(
        self, watchers: Watchers, client: redis.Redis, prefix: str = "", *, poll_seconds: float = _POLL_SECONDS
    ) -> None:
        self._watchers = watchers
        self._client = client
        self._channel = f"{prefix}{_CHANNEL}"
        self._subscription = Subscription(
            client, self._channel, receive=self._receive, begin=watchers.resync, poll_seconds=poll_seconds
        )
        self._unsent: set[UUID] = set()
        self._unsent_any = asyncio.Event()

    @property
    def subscribed(self) -> bool:
        """Whether messages of other processes arrive at the moment, as far as is known."""
        return self._subscription.subscribed

    @override
    def put(self, job_ids: Collection[UUID]) -> None:
        if len(self._unsent) < _PENDING_MAX:
            self._unsent.update(job_ids)
        self._unsent_any.set()
        self._watchers.notice(job_ids)

    async def run(self) -> None:
        """Send and receive until the task is cancelled."""
        await together(
            Loop("changes", self._send, known=REDIS_FAILURES, backoff_seconds_max=_BACKOFF_SECONDS_MAX).run(),
            self._subscription.run(),
        )

    async def _send(self) -> None:
        await self._unsent_any.wait()
        self._unsent_any.clear()
        # Changes that cannot be sent are found by the other processes when they compare versions.
        sent, self._unsent = self._unsent, set()
        if sent:
            await self._client.publish(self._channel, b"".join(job_id.bytes for job_id in sent))

    def _receive(self, data: bytes | str) -> None:
        if isinstance(data, bytes) and len(data) % _ID_BYTES == 0:
            self._watchers.notice(
                UUID(bytes=data[start : start + _ID_BYTES]) for start in range(0, len(data), _ID_BYTES)
            )
