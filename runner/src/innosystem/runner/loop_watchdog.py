"""Watches the event loop from outside: what a handler blocks, nothing inside can end.

Timeouts, the watchdog and the end of the runner live in the event loop, while a thread of its own renews the leases.
So a handler that blocks the loop would keep its job, and all others of the runner, for ever.
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
from typing import Final, Self

import structlog

from innosystem.runner.stack_traces import thread_stack
from innosystem.shared.log_lines import flush_all

log = structlog.get_logger()

BLOCKED_STATUS: Final = 3
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_TICK_SECONDS: Final = 0.25
_NOTICED_SECONDS: Final = 1.0
# What waited for the network while the loop was blocked is found late within this time.
_AFTER_SECONDS: Final = 10.0
_STANDARD_ERROR: Final = 2


class LoopWatchdog:
    """Has the loop answer four times a second, and receives the signals that stop the runner.

    A loop that does not answer for a second is logged with what it does; one that does not for a limit ends the
    process, so that leases end and jobs run elsewhere. So does one that blocks the end of the runner for longer than
    its drain. Only time in which this thread itself ran counts: a process that was frozen is not to blame.

    Where the interpreter's lock is held this thread can't run either. After a limit of its own the traceback of all
    threads goes to standard error, and the process ends with status 1. That limit counts the time in which the process
    was frozen, too, so it is as long as a lease: nothing renews meanwhile, and no job is kept.

    Args:
        limit_seconds: How long the loop may be blocked.
        lease_seconds: How long the runner's leases last.
        drain_seconds: How long it may be once the runner was told to stop.
        stop: Called in the loop at each signal to stop.
    """

    def __init__(
        self, *, limit_seconds: float, lease_seconds: float, drain_seconds: float, stop: Callable[[], None]
    ) -> None:
        self._limit_seconds = limit_seconds
        self._lock_seconds = max(limit_seconds, lease_seconds)
        self._drain_seconds = drain_seconds
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._closing = threading.Event()
        self._handle_result = True
        self._blocked_seconds = 0.0
        self._blocked_at = float("-inf")
        self._stop_at: float | None = None
        self._said = False
        self._armed_at = float("-inf")
        self._earlier = -1
        self._theirs, self._ours = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="watch-loop", daemon=True)

    @contextmanager
    def watching(self) -> Iterator[Self]:
        """Watch meanwhile, and take the signals. In the main thread only, in which the loop runs."""
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
        """Have signals come to the thread, and tell whether they did not: uvloop takes them when it begins to run."""
        # Written to at once in whatever the main thread is; a signal handler has to wait until that is Python again.
        earlier = signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        if earlier == self._theirs.fileno():
            return False
        self._earlier = earlier
        return True

    def _in_python(self, number: int, frame: FrameType | None) -> None:
        if not self._closing.is_set() and self._take_signals():
            self._receive(bytes([number]))

    def was_blocked(self) -> bool:
        """Tell whether the loop was blocked a moment ago: what is late now may be so for that reason."""
        return time.monotonic() - self._blocked_at < _AFTER_SECONDS

    def _run(self) -> None:
        looked_at = time.monotonic()
        while not self._closing.is_set():
            if select.select([self._ours], [], [], _TICK_SECONDS)[0]:
                self._receive(self._ours.recv(64))
            now = time.monotonic()
            self._look(now, min(now - looked_at, 2 * _TICK_SECONDS))
            looked_at = now

    def _receive(self, numbers: bytes) -> None:
        for number in numbers:
            if number in _STOP_SIGNALS:
                self._stop_at = self._stop_at or time.monotonic()
                self._loop.call_soon_threadsafe(self._stop)

    def _arm(self, now: float) -> None:
        """Have the process end after the limit, by a thread without Python, unless this is called again before."""
        faulthandler.dump_traceback_later(self._lock_seconds, exit=True, file=_STANDARD_ERROR)
        self._armed_at = now

    def _look(self, now: float, seconds: float) -> None:
        if now - self._armed_at > self._limit_seconds / 10:
            self._arm(now)
        if self._handle_result:
            self._handle_result, self._blocked_seconds, self._said = False, 0.0, False
            self._loop.call_soon_threadsafe(self._answer)
            return
        self._blocked_seconds += seconds
        if self._blocked_seconds < _NOTICED_SECONDS:
            return
        self._blocked_at = now
        if not self._said:
            self._said = True
            log.warning("loop_blocked", **self._culprit())
        if self._blocked_seconds >= self._limit_seconds or self._is_late(now):
            log.critical("loop_blocked_for_too_long", note="the process ends", **self._culprit())
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

    def _answer(self) -> None:
        self._handle_result = True
        if not self._closing.is_set():
            self._take_signals()
