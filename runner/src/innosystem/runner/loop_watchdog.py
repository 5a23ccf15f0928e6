"""Watch the event loop from a thread: nothing in a blocked loop can end the process.

Timeouts, the watchdog of polls and the drain run in the event loop, while a separate thread renews the leases. Without
this watchdog, a handler that blocks the loop would keep its job, and all other jobs of the runner, for ever.
"""

import asyncio
import faulthandler
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn, Self

import structlog

from innosystem.runner.metrics import BLOCKED_SECONDS, LOOP_LAG
from innosystem.runner.stack_traces import thread_stack
from innosystem.shared.log_lines import flush_all

log = structlog.get_logger()

BLOCKED_STATUS: Final = 3
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_TICK_SECONDS: Final = 0.25
_NOTICED_SECONDS: Final = 1.0
# Replies from the network that arrived while the loop was blocked are read within this time.
_AFTER_SECONDS: Final = 10.0
_STANDARD_ERROR: Final = 2


class LoopWatchdog:
    """A thread that pings the loop four times a second, and receives the signals that stop the runner.

    If the loop does not respond for a second, its stack is logged. If it does not respond within the limit, the runner
    starts anew, and if it delays the end of a stopping runner beyond its drain time, the process exits: leases end, and
    jobs run elsewhere.
    Only time in which this thread itself ran counts: time in which the process was frozen is ignored.

    While the interpreter's lock is held, this thread cannot run either. For that case a separate timer writes the
    traceback of all threads to standard error and ends the process with status 1. This timer includes time in which the
    process was frozen, so it is at least as long as a lease: after that no lease is left to keep a job.

    Args:
        limit_seconds: How long the loop may be blocked.
        lease_seconds: How long the runner's leases last.
        drain_seconds: How long the loop may be blocked after the runner was asked to stop.
        stop: Called in the loop for each signal to stop.
        restart: Called when the loop was blocked for too long, in the watchdog's thread; does not return.
    """

    def __init__(
        self,
        *,
        limit_seconds: float,
        lease_seconds: float,
        drain_seconds: float,
        stop: Callable[[], None],
        restart: Callable[[], NoReturn],
    ) -> None:
        self._limit_seconds = limit_seconds
        self._lock_seconds = max(limit_seconds, lease_seconds)
        self._drain_seconds = drain_seconds
        self._stop = stop
        self._restart = restart
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._closing = threading.Event()
        self._responded = True
        self._asked_at = 0.0
        self._blocked_seconds = 0.0
        self._blocked_at = float("-inf")
        self._stop_at: float | None = None
        self._logged = False
        self._armed_at = float("-inf")
        self._earlier = -1
        self._theirs, self._ours = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="watch-loop", daemon=True)

    @contextmanager
    def watching(self) -> Iterator[Self]:
        """Watch and take the signals within the context. Only for the main thread, which runs the loop."""
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        self._take_signals()
        for number in _STOP_SIGNALS:
            signal.signal(number, self._in_python)
        self._arm(time.monotonic())
        self._thread.start()
        try:
            yield self
        finally:
            self._closing.set()
            signal.set_wakeup_fd(self._earlier)
            self._thread.join()
            faulthandler.cancel_dump_traceback_later()
            self._ours.close()
            self._theirs.close()

    def _take_signals(self) -> bool:
        """Direct signals to the thread, and return whether they went elsewhere: uvloop takes them when it starts."""
        # The descriptor is written to immediately; a signal handler waits until the main thread runs Python code again.
        earlier = signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        if earlier == self._theirs.fileno():
            return False
        self._earlier = earlier
        return True

    def _in_python(self, number: int, frame: FrameType | None) -> None:
        if not self._closing.is_set() and self._take_signals():
            self._receive(bytes([number]))

    def was_blocked(self) -> bool:
        """Return whether the loop was blocked recently, which may be why something is late now."""
        return time.monotonic() - self._blocked_at < _AFTER_SECONDS

    def _run(self) -> None:
        checked_at = time.monotonic()
        while not self._closing.is_set():
            if select.select([self._ours], [], [], _TICK_SECONDS)[0]:
                self._receive(self._ours.recv(64))
            now = time.monotonic()
            self._check(now, min(now - checked_at, 2 * _TICK_SECONDS))
            checked_at = now

    def _receive(self, numbers: bytes) -> None:
        for number in numbers:
            if number in _STOP_SIGNALS:
                self._stop_at = self._stop_at or time.monotonic()
                self._loop.call_soon_threadsafe(self._stop)

    def _arm(self, now: float) -> None:
        """Restart the timer that ends the process; its thread needs no interpreter."""
        faulthandler.dump_traceback_later(self._lock_seconds, exit=True, file=_STANDARD_ERROR)
        self._armed_at = now

    def _check(self, now: float, seconds: float) -> None:
        if now - self._armed_at > self._limit_seconds / 10:
            self._arm(now)
        if self._responded:
            self._responded, self._blocked_seconds, self._logged = False, 0.0, False
            self._asked_at = time.monotonic()
            self._loop.call_soon_threadsafe(self._respond)
            return
        self._blocked_seconds += seconds
        if self._blocked_seconds < _NOTICED_SECONDS:
            return
        self._blocked_at = now
        BLOCKED_SECONDS.inc(seconds)
        if not self._logged:
            self._logged = True
            log.warning("loop_blocked", **self._culprit())
        if self._blocked_seconds >= self._limit_seconds or self._is_late(now):
            log.critical("loop_blocked_for_too_long", **self._culprit())
            if self._stop_at is None:
                self._restart()
            flush_all()
            os._exit(BLOCKED_STATUS)

    def _is_late(self, now: float) -> bool:
        return self._stop_at is not None and now - self._stop_at >= self._drain_seconds

    def _culprit(self) -> dict[str, object]:
        task = asyncio.current_task(self._loop)
        return {
            "seconds": round(self._blocked_seconds, 3),
            # Tasks of handlers are named after them.
            "task": None if task is None else task.get_name(),
            "stack": thread_stack(self._loop_thread),
        }

    def _respond(self) -> None:
        LOOP_LAG.observe(time.monotonic() - self._asked_at)
        self._responded = True
        if not self._closing.is_set():
            self._take_signals()
