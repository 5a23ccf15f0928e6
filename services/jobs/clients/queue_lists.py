"""The Redis lists that runners take job IDs from."""

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import redis.asyncio as redis
import structlog
from typing_extensions import override

from innosystem.shared.queue_lists import list_name, parse_list_name
from services.jobs.metrics import LIST_FAILURES
from services.jobs.rules.entities import ListKey, Waiting
from services.jobs.rules.job_types import Priority
from services.jobs.usecases.ports import QueueLists, QueueUnavailable
from services.kit.redis.failures import REDIS_FAILURES

log = structlog.get_logger(__name__)

_KEEPS_ALL = "noeviction"
_SCANNED = 1000
# The error of Redis about a key of another type, set by another program. It concerns this one list only.
_OTHER_TYPE = "WRONGTYPE"


class RedisQueueLists(QueueLists):
    """The lists: IDs are pushed with LPUSH and taken by runners from the other end, first in, first out.

    Args:
        client: A client with a short limit and few retries.
        prefix: Put before the names of the lists.
    """

    def __init__(self, client: redis.Redis, prefix: str = "") -> None:
        self._client = client
        self._prefix = prefix
        self._looked_at_policy = False
        # Lists that Redis refuses, and that were logged.
        self._refused: set[ListKey] = set()

    @override
    async def push(self, jobs: Sequence[Waiting], *, first: bool = False) -> Mapping[ListKey, int]:
        # One command a list, in one round trip. Pushing again after an error is harmless.
        lists: dict[ListKey, list[str]] = defaultdict(list)
        # `first` pushes at the end that runners take from, so the last job is pushed first.
        for job in reversed(jobs) if first else jobs:
            lists[job.list].append(str(job.id))
        async with self._pipeline() as pipeline:
            for key, ids in lists.items():
                add = pipeline.rpush if first else pipeline.lpush
                add(self._name(key), *ids)
            return self._judged(list(lists), await pipeline.execute(raise_on_error=False))

    @override
    async def lengths(self, keys: Sequence[ListKey]) -> Mapping[ListKey, int]:
        async with self._pipeline() as pipeline:
            for key in keys:
                pipeline.llen(self._name(key))
            return self._judged(keys, await pipeline.execute(raise_on_error=False))

    @override
    async def names(self) -> list[ListKey]:
        # A walk through the names of all keys: too costly for every round.
        found: list[ListKey] = []
        try:
            # A key of another type under such a name is none of the service's lists.
            pattern = f"{_escaped(self._prefix)}jobs:*:pending"
            async for name in self._client.scan_iter(pattern, count=_SCANNED, _type="list"):
                key = _list_key(_text(name).removeprefix(self._prefix))
                if key is not None:
                    found.append(key)
        except REDIS_FAILURES as error:
            raise QueueUnavailable(f"{type(error).__name__}: {error}") from error
        return found

    @override
    async def read(self, key: ListKey) -> list[UUID]:
        # The whole list: its length is bounded.
        async with self._pipeline() as pipeline:
            pipeline.lrange(self._name(key), 0, -1)
            [values] = await pipeline.execute()
        return [job_id for value in values if (job_id := _job_id(value)) is not None]

    @override
    async def remove(self, key: ListKey, job_ids: Collection[UUID]) -> None:
        async with self._pipeline() as pipeline:
            for job_id in job_ids:
                pipeline.lrem(self._name(key), 0, str(job_id))
            await pipeline.execute()

    @override
    async def take_back(self, key: ListKey, count: int) -> list[UUID]:
        # Popped at the end where jobs are pushed. Values that are not IDs are dropped with them.
        async with self._pipeline() as pipeline:
            pipeline.lpop(self._name(key), count)
            [values] = await pipeline.execute()
        return [job_id for value in values or () if (job_id := _job_id(value)) is not None]

    async def check(self) -> None:
        """Check that Redis accepts changes, for health checks. Warn once about a Redis that may evict IDs.

        Raises:
            QueueUnavailable: If it is a replica, as after a failover; a ping would succeed.
        """
        role = await self._client.info("replication")
        if role.get("role") != "master":
            # The address may lead to another server by now.
            await self._client.connection_pool.disconnect(inuse_connections=False)
            master = f"{role.get('master_host')}:{role.get('master_port')}"
            raise QueueUnavailable(f"Redis is a replica of {master} and accepts no changes")
        if not self._looked_at_policy:
            memory = await self._client.info("memory")
            self._looked_at_policy = True
            if (policy := memory.get("maxmemory_policy", _KEEPS_ALL)) != _KEEPS_ALL:
                log.warning(
                    "redis_may_evict",
                    maxmemory_policy=policy,
                    advice=f"set maxmemory-policy to {_KEEPS_ALL}: jobs of evicted IDs wait to be pushed again",
                )

    def _name(self, key: ListKey) -> str:
        return self._prefix + list_name(key.queue, key.priority)

    def _judged(self, keys: Sequence[ListKey], lengths: Sequence[int | Exception]) -> dict[ListKey, int]:
        """Leave out the lists that Redis refuses by themselves; raise an error that concerns all of Redis."""
        judged: dict[ListKey, int] = {}
        for key, length in zip(keys, lengths, strict=True):
            if not isinstance(length, Exception):
                judged[key] = length
            elif str(length).startswith(_OTHER_TYPE):
                LIST_FAILURES.labels(key.queue, key.priority.name).inc()
                if key not in self._refused:
                    log.error("queue_list_unusable", list=self._name(key), error=str(length))
            else:
                raise length
        self._refused = (self._refused - judged.keys()) | (set(keys) - judged.keys())
        return judged

    @asynccontextmanager
    async def _pipeline(self) -> AsyncIterator[Any]:
        """Yield a pipeline for one round trip; a failure of Redis is raised as QueueUnavailable."""
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                yield pipeline
        except REDIS_FAILURES as error:
            raise QueueUnavailable(f"{type(error).__name__}: {error}") from error


def _list_key(name: str) -> ListKey | None:
    found = parse_list_name(name)
    return ListKey(found[0], Priority(found[1])) if found else None


def _escaped(prefix: str) -> str:
    """Return the prefix as part of a glob pattern of Redis."""
    return re.sub(r"([\\*?\[\]^])", r"\\\1", prefix)


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _job_id(value: bytes | str) -> UUID | None:
    try:
        return UUID(_text(value))
    except ValueError:
        return None
