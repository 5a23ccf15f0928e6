"""Notices a runner that has gone deaf, and shows others that it has not."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger()

_TICK_SECONDS_MAX: Final = 1.0
_TOUCH_SECONDS: Final = 1.0


class NotPolling(Exception):
    """The runner has room, and no poll for work has ended for too long."""


class PollWatchdog:
    """Counts the time in which the runner could take jobs and no poll for them came to an end.

    A poll has ended when Redis answered it, or when its failure was noticed: to be without Redis is
    not to be deaf. Only time in which the event loop ran counts. A runner that was frozen, or
    whose loop a handler kept busy, gets to poll before it is judged.

    Args:
        limit_seconds: How long it may take.
        has_room: Whether the runner takes jobs.
        health_file: Its time is set, at most once a second, by each poll, and while there is no room.
            None: there is none.
    """

    def __init__(self, *, limit_seconds: float, has_room: Callable[[], bool], health_file: Path | None) -> None:
        self._limit_seconds = limit_seconds
        self._has_room = has_room
        self._health_file = health_file
        self._touched_at = float("-inf")
        self._touch_failed = False
        self._deaf_seconds = 0.0

    def polled(self) -> None:
        """Note that a poll has ended."""
        self._deaf_seconds = 0.0
        self._touch()

    async def run(self) -> None:
        """Watch until cancelled.

        Raises:
            NotPolling: The runner is.
        """
        tick_seconds = min(_TICK_SECONDS_MAX, self._limit_seconds / 4)
        while True:
            await asyncio.sleep(tick_seconds)
            if not self._has_room():
                self.polled()
                continue
            self._deaf_seconds += tick_seconds
            if self._deaf_seconds >= self._limit_seconds:
                raise NotPolling(f"No poll for work has ended for {self._deaf_seconds:g} seconds")

    def _touch(self) -> None:
        now = time.monotonic()
        if self._health_file is None or now - self._touched_at < _TOUCH_SECONDS:
            return
        self._touched_at = now
        try:
            self._health_file.touch()
        except OSError as exc:
            if not self._touch_failed:
                log.error("health_file_not_touched", error=str(exc))  # noqa: TRY400 - the path says it all
            self._touch_failed = True
        else:
            self._touch_failed = False
