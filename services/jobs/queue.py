"""The Redis lists that runners take job IDs from."""

from collections import defaultdict
from collections.abc import Sequence

import redis.asyncio as redis
from redis.exceptions import RedisError

from services.jobs.dispatcher import QueueUnavailable
from services.jobs.job_types import DEFAULT_QUEUE
from services.jobs.repository import Waiting


def list_name(queue: str, priority: int) -> str:
    """The name of the list of a queue and priority, such as `jobs:p0:pending`."""
    middle = "" if queue == DEFAULT_QUEUE else f"{queue}:"
    return f"jobs:{middle}p{priority}:pending"


class RedisLists:
    """Pushes IDs with LPUSH; runners take them from the other end, so each list is first in, first out.

    Args:
        client: A client with a short limit and few retries.
        prefix: Put before the names of the lists.
    """

    def __init__(self, client: redis.Redis, prefix: str = "") -> None:
        self._client = client
        self._prefix = prefix

    async def push(self, jobs: Sequence[Waiting]) -> None:
        """Adds jobs to their lists, one command a list, in one round trip.

        Raises:
            QueueUnavailable: If Redis did not confirm. Pushing again is harmless.
        """
        lists: dict[str, list[str]] = defaultdict(list)
        for job in jobs:
            lists[self._prefix + list_name(job.queue, job.priority)].append(str(job.id))
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for name, ids in lists.items():
                    pipeline.lpush(name, *ids)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            raise QueueUnavailable(f"{type(error).__name__}: {error}") from error

    async def check(self) -> None:
        """Asks Redis for a sign of life; for health checks."""
        await self._client.ping()
