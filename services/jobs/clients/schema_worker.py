"""The worker process that checks inputs with JSON Schemas: one question a message, on standard input.

Each question has limits of time and memory, and the process ends when it exceeds them, because no code inside of a
process can stop the library that checks. A schema that makes the library crash ends the process as well.
"""

import resource
import signal
import struct
import sys
from collections.abc import Mapping
from functools import lru_cache
from time import process_time
from typing import Any

import orjson

from services.jobs.rules.schemas import payloads
from services.jobs.rules.schemas.schema import InvalidSchema, Schema

LENGTH = struct.Struct(">I")

_MEMORY_BYTES_MAX = 1024 * 1024 * 1024
_COMPILED_MAX = 16


def main(cpu_seconds_max: float) -> None:
    """Respond to questions until the input ends.

    Args:
        cpu_seconds_max: The CPU time that a question may take.
    """
    # A terminal's Ctrl-C reaches all processes of a group: the worker ends with its service instead.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES_MAX, _MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while header := sys.stdin.buffer.read(LENGTH.size):
        question = orjson.loads(sys.stdin.buffer.read(*LENGTH.unpack(header)))
        # CPU time, not elapsed time: a busy machine makes no schema more costly.
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds_max)
        response = _respond(question)
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.buffer.write(framed(response))
        sys.stdout.buffer.flush()


def framed(message: Mapping[str, Any]) -> bytes:
    """Return a message as both sides read it: its length and JSON."""
    text = orjson.dumps(message)
    return LENGTH.pack(len(text)) + text


def _respond(question: Mapping[str, Any]) -> dict[str, Any]:
    began_at = process_time()
    try:
        schema = _compiled(question["schema"])
        if question["input"] is None:
            return {"seconds": process_time() - began_at, "too_heavy": schema.too_heavy()}
    except InvalidSchema as error:
        return {"invalid": str(error)}
    return {"problem": schema.problem(payloads.parse(question["input"]))}


@lru_cache(_COMPILED_MAX)
def _compiled(text: str) -> Schema:
    return Schema(text)


if __name__ == "__main__":
    main(float(sys.argv[1]))
