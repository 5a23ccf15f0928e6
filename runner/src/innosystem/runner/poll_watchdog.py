"""Detect a runner that has stopped polling, and touch a health file while it polls."""

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
    """A runner that has room for jobs, but has not completed a poll for too long."""


class PollWatchdog:
    """A counter of the time in which the runner had room for jobs and completed no poll.

    A poll is complete when Redis replied or when its failure was noticed: a runner without Redis still polls. Only time
    in which the event loop ran counts: a runner that was frozen, or whose loop was busy, gets the chance to poll first.

    Args:
        limit_seconds: The longest time without a completed poll.
        has_room: Returns whether the runner has room for jobs.
        health_file: Touched, at most once a second, at each poll and while the runner is full; None for no file.
    """

    def __init__(self, *, limit_seconds: float, has_room: Callable[[], bool], health_file: Path | None) -> None:
        self._limit_seconds = limit_seconds
        self._has_room = has_room
        self._health_file = health_file
        self._touched_at = float("-inf")
        self._touch_failed = False
        self._idle_seconds = 0.0

    def polled(self) -> None:
        """Note a completed poll."""
        self._idle_seconds = 0.0
        self._touch()

    async def run(self) -> None:
        """Watch until cancelled.

        Raises:
            NotPolling: No poll was completed within the limit.
        """
        tick_seconds = min(_TICK_SECONDS_MAX, self._limit_seconds / 4)
        while True:
            await asyncio.sleep(tick_seconds)
            if not self._has_room():
                self.polled()
                continue
            self._idle_seconds += tick_seconds
            if self._idle_seconds >= self._limit_seconds:
                raise NotPolling(f"No poll for work was completed for {self._idle_seconds:g} seconds")

    def _touch(self) -> None:
        now = time.monotonic()
        if self._health_file is None or now - self._touched_at < _TOUCH_SECONDS:
            return
        self._touched_at = now
        try:
            self._health_file.touch()
        except OSError as exc:
            if not self._touch_failed:
                log.error("health_file_not_touched", error=str(exc))  # noqa: TRY400 - a traceback adds nothing
            self._touch_failed = True
        else:
            self._touch_failed = False
