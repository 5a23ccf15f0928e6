"""Servers that tests start as processes."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stopping(server: "subprocess.Popen[bytes]", limit_seconds: float) -> Iterator[None]:
    """Terminate a server at the end, and kill it if it takes longer than the limit."""
    try:
        yield
    finally:
        server.terminate()
        try:
            server.wait(limit_seconds)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
