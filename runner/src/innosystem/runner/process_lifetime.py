"""Has the runner's process end when the runner does, not before and not after, whatever handlers have left in it."""

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Coroutine
from typing import Any, Final

import structlog
import uvloop

from innosystem.shared.log_lines import flush_all

log = structlog.get_logger()

# Python waits for threads and processes that handlers have started, for ever; what is about to end gets this long.
_LEFT_SECONDS: Final = 3.0


def run_to_completion(main: Coroutine[Any, Any, int]) -> int:
    """Run this in an event loop, which goes on if a handler ends it.

    A SystemExit in a task or a callback of a handler's is raised through the loop, other than in the handler itself;
    and a handler can stop the loop.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        loop = runner.get_loop()
        task = loop.create_task(main)
        while True:
            try:
                return loop.run_until_complete(task)
            except (SystemExit, KeyboardInterrupt, RuntimeError):
                # Until the runner takes the signals SIGINT ends it here.
                before_start = signal.getsignal(signal.SIGINT) is signal.default_int_handler
                if task.done() or loop.is_closed() or before_start:
                    raise
                log.exception("loop_ended_by_handler", note="it goes on")


class Leftovers:
    """What was started in this process since this was made, by handlers, and is left there."""

    def __init__(self) -> None:
        self._before = set(threading.enumerate())

    def _threads(self) -> list[str]:
        return [each.name for each in threading.enumerate() if not each.daemon and each not in self._before]

    def _processes(self) -> list[str]:
        return [each.name for each in multiprocessing.active_children() if not each.daemon]

    def exit_soon(self, status: int) -> None:
        """Have the process end with this status in a moment, if it has not by then for something that is left."""
        if self._threads() or self._processes():
            threading.Thread(target=self._end, args=(status,), name="end", daemon=True).start()

    def _end(self, status: int) -> None:
        time.sleep(_LEFT_SECONDS)
        threads, processes = self._threads(), self._processes()
        if threads or processes:
            log.error("left_by_handlers", threads=threads, processes=processes, note="the process ends without them")
            flush_all()
            os._exit(status)
