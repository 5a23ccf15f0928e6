"""Keep the runner's process alive exactly as long as the runner, regardless of what handlers do in it."""

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

# At exit Python waits for ever for threads and processes that handlers have started: allow them this long instead.
_LEFTOVER_SECONDS: Final = 3.0


def run_to_completion(main: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine in an event loop that resumes if a handler ends it.

    A SystemExit in a handler is caught by its run, but in a task or a callback that the handler started it passes
    through the loop; a handler can also stop the loop.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        loop = runner.get_loop()
        task = loop.create_task(main)
        while True:
            try:
                return loop.run_until_complete(task)
            except (SystemExit, KeyboardInterrupt, RuntimeError):
                # Until the runner takes over the signals, SIGINT ends the process here.
                before_start = signal.getsignal(signal.SIGINT) is signal.default_int_handler
                if task.done() or loop.is_closed() or before_start:
                    raise
                log.exception("loop_ended_by_handler", note="the loop resumes")


class Leftovers:
    """Threads and processes that handlers started in this process since the creation of this object."""

    def __init__(self) -> None:
        self._before = set(threading.enumerate())

    def _threads(self) -> list[str]:
        return [each.name for each in threading.enumerate() if not each.daemon and each not in self._before]

    def _processes(self) -> list[str]:
        return [each.name for each in multiprocessing.active_children() if not each.daemon]

    def exit_soon(self, status: int) -> None:
        """Exit with this status after a moment, if leftovers still keep the process from exiting by then."""
        if self._threads() or self._processes():
            threading.Thread(target=self._end, args=(status,), name="end", daemon=True).start()

    def _end(self, status: int) -> None:
        time.sleep(_LEFTOVER_SECONDS)
        threads, processes = self._threads(), self._processes()
        if threads or processes:
            log.error("left_by_handlers", threads=threads, processes=processes, note="the process exits without them")
            flush_all()
            os._exit(status)
