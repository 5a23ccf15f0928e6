"""Take the IDs of waiting jobs from Redis. Redis only holds hints: the platform finds a lost ID again later."""

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
from innosystem.shared.queue_lists import PRIORITIES, list_name
from innosystem.shared.redis_connections import connect

log = structlog.get_logger()

_BLOCK_SECONDS: Final = 1
# A reply may be late on a busy machine; a connection that is silent for longer is dead.
_REPLY_SECONDS: Final = 5.0
# After this time a connection is replaced, so that it follows the address to another server.
_CONNECTION_SECONDS: Final = 60.0
_PUSH_BACK_ATTEMPTS: Final = 6
# How long to skip a key that does not hold a list.
_SKIP_SECONDS: Final = 10.0
_WRONG_TYPE: Final = "WRONGTYPE"
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHOWN_LENGTH: Final = 80
# On writing to a connection that has just broken, uvloop raises RuntimeError, which redis-py passes on.
_UNAVAILABLE: Final = (RedisError, OSError, RuntimeError)


@dataclass(frozen=True, slots=True)
class PoppedId:
    """The ID of a job, and the list that it came from."""

    job_id: str
    key: str


def list_keys(queues: Sequence[str], prefix: str = "") -> list[str]:
    """Return the names of the lists of some queues in serving order: priority by priority, each for all queues.

    Args:
        queues: The queues, most important first.
        prefix: The prefix of each name.
    """
    return [f"{prefix}{list_name(queue, priority)}" for priority in range(PRIORITIES) for queue in queues]


class JobQueue:
    """The lists that a runner serves. Reconnects by itself, for ever.

    Attributes:
        loop_was_blocked: Returns whether a reply that seems late may have arrived in time without being read.
    """

    def __init__(self, url: str, keys: Sequence[str]) -> None:
        """Describe the lists; no connection is opened before the first call.

        Args:
            url: The address of Redis.
            keys: The lists, most important first.
        """
        self._keys = list(keys)
        # The keys that are not lists, and until when to skip each: a single one makes BRPOP of all keys fail.
        self._skipped: dict[str, float] = {}
        # The clients never retry by themselves: a pop whose reply was lost has taken its IDs, and a retry would take
        # more.
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
        """Wait for an ID, a second at most, and take further IDs with it.

        Args:
            room: Returns how many IDs may be taken; called again after the first ID has arrived.

        Returns:
            The IDs, most important first; empty if the lists are empty or Redis is unavailable.
        """
        popped: list[PoppedId] = []
        try:
            keys = await self._served()
            first = await self._blocking.brpop(keys, timeout=_BLOCK_SECONDS) if keys else None
            if first is not None:
                key = _text(first[0])
                popped += _valid([first[1]], key)
                # The lists before the one that BRPOP returned were empty a moment ago.
                await self._pop_more(popped, keys[keys.index(key) :], room() - 1)
            elif not keys:
                await asyncio.sleep(_BLOCK_SECONDS)
            self._note_success()
        except _UNAVAILABLE as exc:
            await self._failed(exc)
        return popped

    async def _served(self) -> list[str]:
        """Return the keys to pop from, checking skipped keys again after a while."""
        now = time.monotonic()
        for key, until in list(self._skipped.items()):
            if now >= until:
                await self._check(key)
        return [key for key in self._keys if key not in self._skipped]

    async def _check(self, key: str) -> None:
        """Skip a key that is not a list, and log it once; serve it again when it is a list or does not exist."""
        kind = _text(await self._commands.type(key))
        if kind in ("list", "none"):
            if self._skipped.pop(key, None) is not None:
                log.info("list_served_again", list=key)
            return
        if key not in self._skipped:
            log.error("not_a_list", list=key, type=kind, note="its jobs wait; the other lists are served")
        self._skipped[key] = time.monotonic() + _SKIP_SECONDS

    async def _pop_more(self, popped: list[PoppedId], keys: Sequence[str], room: int) -> None:
        for key in keys:
            if room <= 0:
                return
            values = await self._commands.rpop(key, room)
            if values:
                room -= len(values)
                popped += _valid(values if isinstance(values, list) else [values], key)

    async def wake(self) -> None:
        """End a waiting `pop`. Cancelling it could lose an ID that Redis is just sending."""
        try:
            for client in await self._commands.client_list(_type="normal"):
                if client["name"] == self._name:
                    await self._commands.client_unblock(int(client["id"]))
        except _UNAVAILABLE as exc:
            # The pop ends by itself within a second.
            log.debug("pop_not_woken", error=str(exc))

    async def push_back(self, ids: Iterable[PoppedId]) -> None:
        """Push IDs back to their lists, to be taken next and in the same order as before.

        Args:
            ids: IDs that `pop` returned. If Redis remains unavailable, the platform finds them again later.
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
            except _UNAVAILABLE as exc:
                if attempt == _PUSH_BACK_ATTEMPTS or str(exc).startswith(_WRONG_TYPE):
                    log.error("push_back_failed", list=key, job_ids=job_ids, error=str(exc))  # noqa: TRY400
                    return
                await asyncio.sleep(backoff.next_seconds())
            else:
                log.info("pushed_back", list=key, jobs=len(job_ids))
                return

    def _note_success(self) -> None:
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
                    await self._check(key)
            except _UNAVAILABLE as later:
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
    """Return the values that are UUIDs; log and drop the rest, which no runner could claim."""
    ids = []
    for value in values:
        # The value may have any length.
        text = _text(value[:_SHOWN_LENGTH]).lower()
        if _UUID.fullmatch(text):
            ids.append(PoppedId(text, key))
        else:
            log.warning("not_a_job_id", list=key, value=text)
    return ids


def _text(value: bytes | str) -> str:
    # Any client can push any bytes: invalid UTF-8 must not stop the runner.
    return value.decode(errors="replace") if isinstance(value, bytes) else value
