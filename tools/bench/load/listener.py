"""The other end of a `LoadProcess`: the protocol of a load process on its standard input and output."""

import json
import sys
from typing import Any


def read_task() -> dict[str, Any]:
    """Read the task."""
    task: dict[str, Any] = json.loads(sys.stdin.readline())
    return task


def wait_for_go() -> None:
    """Report readiness and wait for the signal to begin; exit if the parent is gone."""
    send({"ready": True})
    if not sys.stdin.readline():
        sys.exit("the process that started this one is gone")


def send(result: dict[str, Any]) -> None:
    """Send a result."""
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()
