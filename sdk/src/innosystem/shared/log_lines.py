"""Where the lines of the platform's processes go: writing one never raises, never waits, and decides nothing.

A log is read by something that may stop reading, go away, or fill its disk. None of that may become
the error of a job or a call, or stop an event loop. So lines are handed to a thread that writes
them; those that can't be written are counted, which is said once writing works again.

The services and the runner share this. It is no part of what the SDK offers its users.
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

# Some ten thousand lines: what a reader that pauses for a while does not lose.
WAITING_BYTES_MAX: Final = 8 * 1024 * 1024
# What several processes write to one pipe is not mixed up as long as no write is larger than this.
_WRITE_BYTES_MAX: Final = select.PIPE_BUF
# Between writes, so that at any rate of lines the event loop is interrupted this often at most.
_REST_SECONDS: Final = 0.05
_FLUSH_SECONDS: Final = 1.0


_all: Final[list["LogLines"]] = []


def flush_all(seconds: float = _FLUSH_SECONDS) -> None:
    """Write what waits, for those who end the process by `os._exit` or a signal; not for long."""
    for stream in (sys.stdout, sys.stderr):
        # Closed, or not ours and broken: there is nothing that could be done.
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    for each in _all:
        each.flush(seconds)


class LogLines:
    """Writes lines to a file descriptor, from a daemon thread.

    After a fork the child has no such thread, and lives for a short time: it writes by itself.

    Args:
        stream: Whose file descriptor is written to; a copy of it, which nobody else closes. None, as
            Python has it if the process was started without one, or closed: all lines are lost.
        lost: Told how many lines were lost, in whichever thread that is noticed.
        recovered: Told how many lines were lost in all when writing works again, in the thread.
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
        # Its `put` is safe wherever a line may come from, also within itself: a destructor may log.
        self._waiting: SimpleQueue[bytes | threading.Event] = SimpleQueue()
        self._lock = threading.RLock()
        self._waiting_bytes = 0
        self._untold = 0
        self._torn = False
        self._forked = False
        threading.Thread(target=self._run, name="log-lines", daemon=True).start()
        os.register_at_fork(after_in_child=self._note_fork)
        _all.append(self)

    def write(self, line: bytes) -> None:
        """Have a line written, with the line feed at its end; lose it if too much is waiting."""
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
        """Wait until what waits is written, or lost, but not for long."""
        if not self._forked:
            done = threading.Event()
            self._waiting.put(done)
            done.wait(seconds)

    def fileno(self) -> int:
        """Tell the file descriptor, for processes that are to write to it as well.

        Raises:
            OSError: There is none.
        """
        if self._descriptor < 0:
            raise OSError("the process has no such stream")
        return self._descriptor

    def is_terminal(self) -> bool:
        """Tell whether people read the lines as they come."""
        return self._descriptor >= 0 and os.isatty(self._descriptor)

    def _run(self) -> None:
        while True:
            self._write_waiting(self._waiting.get())
            time.sleep(_REST_SECONDS)

    def _write_waiting(self, first: bytes | threading.Event) -> None:
        """Write all that waits, as many whole lines at once as are not torn apart."""
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
            # What was cut off must not spoil the next line as well.
            self._write_all(b"\n" + data if self._torn else data)
        except OSError:
            self._lose(len(lines))
        else:
            self._tell_recovered()
        finally:
            with self._lock:
                self._waiting_bytes -= len(data)

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                written = os.write(self._descriptor, rest)
            except BlockingIOError:
                # Somebody who shares the pipe or the terminal has set it so.
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll()
            else:
                rest = rest[written:]
                self._torn = bool(rest)

    def _lose(self, lines: int) -> None:
        with self._lock:
            self._untold += lines
        self._lost(lines)

    def _tell_recovered(self) -> None:
        if self._untold:
            with self._lock:
                untold, self._untold = self._untold, 0
            self._recovered(untold)

    def _note_fork(self) -> None:
        self._lock = threading.RLock()
        self._forked = True


def _copy(stream: IO[str] | None) -> int:
    try:
        return -1 if stream is None else os.dup(stream.fileno())
    except (OSError, ValueError):
        return -1


atexit.register(flush_all)
