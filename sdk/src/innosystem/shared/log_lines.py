"""The output of log lines: writing a line never raises and never blocks.

The reader of a log may stop reading, exit, or fill its disk. None of that may cause the error of a job
or a call, or stop an event loop. A thread therefore writes the lines; lines that cannot be written are
counted, and their number is reported once writing works again.
"""

import atexit
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import IO, Final

# About ten thousand lines, kept for a reader that pauses for a while.
WAITING_BYTES_MAX: Final = 8 * 1024 * 1024
# Writes of several processes to one pipe are atomic up to this size.
_WRITE_BYTES_MAX: Final = select.PIPE_BUF
# The pause between writes bounds how often the event loop is interrupted at any rate of lines.
_REST_SECONDS: Final = 0.05
_FLUSH_SECONDS: Final = 1.0


_all: Final[list["LogLines"]] = []


def flush_all(seconds: float = _FLUSH_SECONDS) -> None:
    """Write all waiting lines within a time limit, before the process ends by `os._exit` or a signal."""
    for stream in (sys.stdout, sys.stderr):
        # A closed or broken stream cannot be flushed.
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    for each in _all:
        each.flush(seconds)


class LogLines:
    """A writer of lines to a file descriptor, from a daemon thread.

    A forked child, which has no such thread and is short-lived, writes its lines directly.

    Args:
        stream: The stream to whose file descriptor, duplicated, the lines are written. None (a process
            that was started without the stream) or a closed stream: all lines are lost.
        lost: Called with the number of lines lost, in any thread.
        recovered: Called with the total number of lost lines when writing works again, in the thread.
    """

    def __init__(
        self,
        stream: IO[str] | None,
        *,
        lost: Callable[[int], None] = lambda _: None,
        recovered: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._descriptor = _copy(stream)
        self._lost = lost
        self._recovered = recovered
        # `put` of a SimpleQueue is reentrant: a destructor may log in the middle of it.
        self._waiting: SimpleQueue[bytes | threading.Event] = SimpleQueue()
        self._lock = threading.RLock()
        self._waiting_bytes = 0
        self._unreported = 0
        self._torn = False
        self._forked = False
        threading.Thread(target=self._run, name="log-lines", daemon=True).start()
        os.register_at_fork(after_in_child=self._note_fork)
        _all.append(self)

    def write(self, line: bytes) -> None:
        """Queue a line, with a line feed at its end, for writing; drop it if too much is waiting."""
        if self._forked:
            self._write([line])
            return
        with self._lock:
            fits = self._waiting_bytes + len(line) <= WAITING_BYTES_MAX
            if fits:
                self._waiting_bytes += len(line)
        if fits:
            self._waiting.put(line)
        else:
            self._lose(1)

    def flush(self, seconds: float = _FLUSH_SECONDS) -> None:
        """Wait, within a time limit, until all waiting lines are written or lost."""
        if not self._forked:
            done = threading.Event()
            self._waiting.put(done)
            done.wait(seconds)

    def fileno(self) -> int:
        """Return the file descriptor, for processes that write to it as well.

        Raises:
            OSError: The process was started without the stream.
        """
        if self._descriptor < 0:
            raise OSError("the process has no such stream")
        return self._descriptor

    def is_terminal(self) -> bool:
        """Return whether the lines go to a terminal."""
        return self._descriptor >= 0 and os.isatty(self._descriptor)

    def _run(self) -> None:
        while True:
            self._write_waiting(self._waiting.get())
            time.sleep(_REST_SECONDS)

    def _write_waiting(self, first: bytes | threading.Event) -> None:
        """Write all waiting lines, in atomic writes of as many whole lines as possible."""
        lines: list[bytes] = []
        size = 0
        each: bytes | threading.Event | None = first
        while each is not None:
            if isinstance(each, threading.Event) or size + len(each) > _WRITE_BYTES_MAX:
                self._write(lines)
                lines, size = [], 0
            if isinstance(each, threading.Event):
                each.set()
            else:
                lines.append(each)
                size += len(each)
            try:
                each = self._waiting.get_nowait()
            except Empty:
                each = None
        self._write(lines)

    def _write(self, lines: list[bytes]) -> None:
        if not lines:
            return
        data = b"".join(lines)
        try:
            # A line that was cut off must not corrupt the next line as well.
            self._write_all(b"\n" + data if self._torn else data)
        except OSError:
            self._lose(len(lines))
        else:
            self._report_recovery()
        finally:
            with self._lock:
                self._waiting_bytes -= len(data)

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                written = os.write(self._descriptor, rest)
            except BlockingIOError:
                # Another process that shares the pipe or the terminal has made it non-blocking.
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll()
            else:
                rest = rest[written:]
                self._torn = bool(rest)

    def _lose(self, lines: int) -> None:
        with self._lock:
            self._unreported += lines
        self._lost(lines)

    def _report_recovery(self) -> None:
        if self._unreported:
            with self._lock:
                unreported, self._unreported = self._unreported, 0
            self._recovered(unreported)

    def _note_fork(self) -> None:
        self._lock = threading.RLock()
        self._forked = True


def _copy(stream: IO[str] | None) -> int:
    try:
        return -1 if stream is None else os.dup(stream.fileno())
    except (OSError, ValueError):
        return -1


atexit.register(flush_all)
