"""Run Python code whose standard output is a terminal, or is none."""

import os
import subprocess
import sys


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
