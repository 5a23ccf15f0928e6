"""What a handler in a process of its own says: passed on to the runner through the process's socket."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from typing import Final

from typing_extensions import override

from innosystem.runner.errors import CheckpointError
from innosystem.runner.handler_process_messages import Checkpoint, CheckpointResult, Said
from innosystem.runner.saying import Listener, Progress

# The runner reports the last progress of a second: a handler that says more must not fill the socket.
_EVERY_SECONDS: Final = 0.2


class ProcessListeners:
    """The listeners of a process of handlers.

    Args:
        send: Sends a message to the runner, from any thread.
    """

    def __init__(self, send: Callable[[object], None]) -> None:
        self.send = send
        self._numbers = count(1)
        self._waiting: dict[int, Future[None]] = {}

    def leave(self, job_id: str, text: str) -> "Future[None]":
        """Pass on a checkpoint."""
        number, waiting = next(self._numbers), Future[None]()
        self._waiting[number] = waiting
        self.send(Checkpoint(job_id, number, text))
        return waiting

    def stored(self, result: CheckpointResult) -> None:
        """Tell the handler that waits for a checkpoint what became of it."""
        waiting = self._waiting.pop(result.number, None)
        if waiting is None or not waiting.set_running_or_notify_cancel():
            return
        if result.error:
            waiting.set_exception(CheckpointError(result.error, retryable=result.retryable))
        else:
            waiting.set_result(None)


class ProcessListener(Listener):
    """Passes on what the handler of one job says.

    Args:
        job_id: The job.
        all: The listeners of the process.
    """

    def __init__(self, job_id: str, all: ProcessListeners) -> None:
        self._job_id = job_id
        self._all = all
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._sent_at = -_EVERY_SECONDS
        self._timer: threading.Timer | None = None
        self._is_over = False

    @override
    def progress(self, progress: Progress) -> None:
        with self._lock:
            self._progress = progress
            wait = self._sent_at + _EVERY_SECONDS - time.monotonic()
            if wait <= 0:
                self._pass_on()
            elif self._timer is None:
                self._timer = threading.Timer(wait, self._later)
                self._timer.daemon = True
                self._timer.start()

    def _later(self) -> None:
        with self._lock:
            self._timer = None
            self._pass_on()

    def _pass_on(self) -> None:
        if self._progress is not None and not self._is_over:
            progress, self._progress, self._sent_at = self._progress, None, time.monotonic()
            self._all.send(Said(self._job_id, progress))

    @override
    def checkpoint(self, text: str) -> "Future[None]":
        return self._all.leave(self._job_id, text)

    def run_is_over(self) -> None:
        """Pass on nothing more: nothing may follow the outcome of the run."""
        with self._lock:
            self._is_over = True
