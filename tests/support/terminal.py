"""Run Python code on a terminal, or with none."""

import os
import select
import subprocess
import sys
from typing import Final, Self

from tests.support.until import until_sync


def on_a_terminal(code: str) -> str:
    """Return what the code prints on a terminal."""
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen, os.fdopen(theirs, "wb") as terminal:
        subprocess.run([sys.executable, "-c", code], check=True, stdout=terminal, timeout=60)
        # All of it is in the terminal's buffer by now.
        return screen.read(4096).decode()


def on_a_pipe(code: str) -> str:
    """Return what the code prints on a pipe."""
    return subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True, timeout=60
    ).stdout


# The terminal of the process, to which Ctrl-C belongs, is its standard input.
_CONTROLLED: Final = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"


class Typist:
    """A person at a terminal, on which Python code runs.

    Args:
        code: The code.
        arguments: Its `sys.argv`, after the first.
    """

    def __init__(self, code: str, *arguments: str) -> None:
        self._ours, theirs = os.openpty()
        with os.fdopen(theirs, "wb") as terminal:
            command = [sys.executable, "-c", _CONTROLLED + code, *arguments]
            self._process = subprocess.Popen(
                command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
            )
        self.screen = ""

    def waits_for(self, text: str) -> None:
        """Wait until the terminal shows a text."""
        until_sync(lambda: text in self._read(), limit_seconds=60, context=lambda: self.screen)

    def types(self, text: str) -> None:
        """Type a text; `\\x03` is Ctrl-C."""
        os.write(self._ours, text.encode())

    def ends(self) -> int:
        """Wait until the process has ended, and return its status."""
        until_sync(lambda: (self._read(), self._process.poll())[1] is not None, context=lambda: self.screen)
        self._read()
        return self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def _read(self) -> str:
        while select.select([self._ours], [], [], 0)[0]:
            try:
                read = os.read(self._ours, 4096)
            except OSError:
                # The process has closed the terminal.
                break
            if not read:
                break
            self.screen += read.decode().replace("\r\n", "\n")
        return self.screen
