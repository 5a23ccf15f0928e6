"""Takes the IDs of waiting jobs from Redis. Redis is a hint: an ID lost here is found again later."""

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from innosystem.client import new_id
from innosystem.runner.backoff import Backoff
from innosystem.runner.redis_connections import connect
from innosystem.shared.queue_lists import PRIORITIES, list_name

log = structlog.get_logger()

_BLOCK_SECONDS: Final = 1
# A reply may come late on a busy machine; a connection that says nothing for longer is dead.
_REPLY_SECONDS: Final = 5.0
# A connection is replaced after this time by one to where the address leads then.
_CONNECTION_SECONDS: Final = 60.0
_PUSH_BACK_ATTEMPTS: Final = 6
# How long a key is not served that holds something else than a list.
_ASIDE_SECONDS: Final = 10.0
_WRONG_TYPE: Final = "WRONGTYPE"
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHOWN_LENGTH: Final = 80
# uvloop answers RuntimeError to writing on a connection that has just been broken; redis-py passes it on.
_AWAY: Final = (RedisError, OSError, RuntimeError)


@dataclass(frozen=True, slots=True)
class PoppedId:
    """The ID of a job, and the list that it came from."""

    job_id: str
    key: str


def list_keys(queues: Sequence[str], prefix: str = "") -> list[str]:
    """Name the lists of some queues in the order they are served: each priority of all queues.

    Args:
        queues: The queues, the most important first.
        prefix: What each name begins with.
    """
    return [f"{prefix}{list_name(queue, priority)}" for priority in range(PRIORITIES) for queue in queues]


class JobQueue:
    """The lists that a runner serves. It reconnects by itself, for ever.

    Attributes:
        loop_was_blocked: Tells whether a reply that seems late may have come in time, and was not read.
    """

    def __init__(self, url: str, keys: Sequence[str]) -> None:
        """Describe the lists; nothing is opened before the first call.

        Args:
            url: Where Redis listens.
            keys: The lists, the most important first.
        """
        self._keys = list(keys)
        # Until when keys are left out that are no lists: one of them would fail each BRPOP of all.
        self._aside: dict[str, float] = {}
        # Neither client repeats by itself: a pop whose reply was lost has taken its IDs, and the
        # next one would take others.
        always: dict[str, Any] = {
            "retry": Retry(NoBackoff(), 0),
            "socket_connect_timeout": _REPLY_SECONDS,
            "lifetime_seconds": _CONNECTION_SECONDS,
        }
        self._name = f"innosystem-runner-{new_id()}"
        self._blocking = connect(url, socket_timeout=_BLOCK_SECONDS + _REPLY_SECONDS, client_name=self._name, **always)
        self._commands = connect(url, socket_timeout=_REPLY_SECONDS, client_name="innosystem-runner", **always)
        self._backoff = Backoff(first_seconds=0.05, longest_seconds=2.0)
        self.loop_was_blocked: Callable[[], bool] = lambda: False

    async def pop(self, room: Callable[[], int]) -> list[PoppedId]:
        """Wait for an ID, a second at most, and take more with it.

        Args:
            room: Tells how many IDs may be taken; asked again once the first one is there.

        Returns:
            The IDs, the most important first. None if there were none, or Redis is away.
        """
        popped: list[PoppedId] = []
        try:
            keys = await self._served()
            first = await self._blocking.brpop(keys, timeout=_BLOCK_SECONDS) if keys else None
            if first is not None:
                key = _text(first[0])
                popped += _valid([first[1]], key)
                # The lists before the one that BRPOP answered were empty a moment ago.
                await self._pop_more(popped, keys[keys.index(key) :], room() - 1)
            elif not keys:
                await asyncio.sleep(_BLOCK_SECONDS)
            self._handle_result()
        except _AWAY as exc:
            await self._failed(exc)
        return popped

    async def _served(self) -> list[str]:
        """Tell which keys to pop from: those that are no lists are looked at again after a while."""
        now = time.monotonic()
        for key, until in list(self._aside.items()):
            if now >= until:
                await self._look_at(key)
        return [key for key in self._keys if key not in self._aside]

    async def _look_at(self, key: str) -> None:
        """Leave a key out if it is no list, and say so once; take it in again if it is one, or nothing."""
        kind = _text(await self._commands.type(key))
        if kind in ("list", "none"):
            if self._aside.pop(key, None) is not None:
                log.info("list_served_again", list=key)
            return
        if key not in self._aside:
            log.error("not_a_list", list=key, type=kind, note="its jobs wait; the other lists are served")
        self._aside[key] = time.monotonic() + _ASIDE_SECONDS

    async def _pop_more(self, popped: list[PoppedId], keys: Sequence[str], wanted: int) -> None:
        for key in keys:
            if wanted <= 0:
                return
            values = await self._commands.rpop(key, wanted)
            if values:
                wanted -= len(values)
                popped += _valid(values if isinstance(values, list) else [values], key)

    async def wake(self) -> None:
        """End a `pop` that waits. Cancelling it could lose an ID that Redis is just handing out."""
        try:
            for client in await self._commands.client_list(_type="normal"):
                if client["name"] == self._name:
                    await self._commands.client_unblock(int(client["id"]))
        except _AWAY as exc:
            # It ends by itself within a second.
            log.debug("pop_not_woken", error=str(exc))

    async def push_back(self, ids: Iterable[PoppedId]) -> None:
        """Put IDs where they came from, to be taken next, in the order they were taken before.

        Args:
            ids: What `pop` answered. If Redis stays away, the platform finds them again later.
        """
        by_key: dict[str, list[str]] = {}
        for each in ids:
            by_key.setdefault(each.key, []).insert(0, each.job_id)
        for key, job_ids in by_key.items():
            await self._push(key, job_ids)

    async def _push(self, key: str, job_ids: list[str]) -> None:
        backoff = Backoff(first_seconds=0.05, longest_seconds=2.0)
        for attempt in range(1, _PUSH_BACK_ATTEMPTS + 1):
            try:
                await self._commands.rpush(key, *job_ids)
            except _AWAY as exc:
                if attempt == _PUSH_BACK_ATTEMPTS or str(exc).startswith(_WRONG_TYPE):
                    log.error("push_back_failed", list=key, job_ids=job_ids, error=str(exc))  # noqa: TRY400
                    return
                await asyncio.sleep(backoff.next_seconds())
            else:
                log.info("pushed_back", list=key, jobs=len(job_ids))
                return

    def _handle_result(self) -> None:
        if self._backoff.failures:
            log.info("redis_available", failures=self._backoff.failures)
            self._backoff.reset()

    async def _failed(self, exc: Exception) -> None:
        if isinstance(exc, TimeoutError | RedisTimeoutError) and self.loop_was_blocked():
            log.info("redis_reply_not_read", note="the event loop was blocked")
            return
        if isinstance(exc, ResponseError) and str(exc).startswith(_WRONG_TYPE):
            try:
                for key in self._keys:
                    await self._look_at(key)
            except _AWAY as later:
                exc = later
            else:
                return
        if not self._backoff.failures:
            log.warning("redis_unavailable", error=f"{type(exc).__name__}: {exc}")
        await asyncio.sleep(self._backoff.next_seconds())

    async def close(self) -> None:
        """Close the connections."""
        await self._blocking.aclose()
        await self._commands.aclose()


def _valid(values: Sequence[bytes | str], key: str) -> list[PoppedId]:
    """Keep what are UUIDs; log and drop the rest, which nobody could claim."""
    ids = []
    for value in values:
        # It may be of any length.
        text = _text(value[:_SHOWN_LENGTH]).lower()
        if _UUID.fullmatch(text):
            ids.append(PoppedId(text, key))
        else:
            log.warning("not_a_job_id", list=key, value=text)
    return ids


def _text(value: bytes | str) -> str:
    # Anybody can push anything: what is not UTF-8 must not stop the runner.
    return value.decode(errors="replace") if isinstance(value, bytes) else value
