"""The other end of a `Talker`: what a process that makes load does with its standard input and output."""

import json
import sys
from typing import Any


def task() -> dict[str, Any]:
    """Reads what to do."""
    told: dict[str, Any] = json.loads(sys.stdin.readline())
    return told


def ready() -> None:
    """Says that everything is prepared, and waits to be let go; ends the process if nobody will."""
    answer({"ready": True})
    if not sys.stdin.readline():
        sys.exit("whoever started this process is gone")


def answer(result: dict[str, Any]) -> None:
    """Answers a result."""
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()
