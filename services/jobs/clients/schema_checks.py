"""Checks inputs with the schemas of their job types without delaying other calls.

Small checks run in the event loop; all others run in a worker process, which ends when a check exceeds its limits of
time or memory.
"""

import asyncio
import os
import select
import signal
import subprocess
import sys
import weakref
from collections import OrderedDict
from contextlib import suppress
from time import monotonic
from typing import Any, BinaryIO, cast

import orjson
import structlog
from typing_extensions import override

from services.jobs.clients.schema_worker import LENGTH, framed
from services.jobs.rules.schemas.payloads import parse
from services.jobs.rules.schemas.schema import InvalidSchema, Schema
from services.jobs.rules.schemas.verdict import Verdict
from services.jobs.usecases.ports import SchemaChecks
from services.kit.errors import Overloaded

log = structlog.get_logger(__name__)

_KNOWN_MAX = 1000
# A schema that takes longer to compile is never compiled in the event loop.
_COMPILE_SECONDS_MAX = 0.02
_WAITING_MAX = 100
# The worker limits its own CPU time. The elapsed time, so many times longer, detects a worker that hangs, as when it
# was stopped by a signal.
_PATIENCE = 10
_TOO_MUCH = "it takes more time or memory to check than allowed: make it smaller, or simplify the schema"


class IsolatedSchemaChecks(SchemaChecks):
    """Checks in the event loop where they are small, else in a worker process.

    Args:
        cpu_seconds_max: The CPU time that a check in the worker process may take.
    """

    def __init__(self, cpu_seconds_max: float = 1.0) -> None:
        self._known: OrderedDict[str, Schema | None] = OrderedDict()
        self._worker = _Worker(cpu_seconds_max)
        self._turn = asyncio.Lock()
        self._waiting = 0
        # The loop keeps no more than a weak reference to a task.
        self._asked: set[asyncio.Task[Any]] = set()

    @override
    def check_small(self, schema: str, text: str) -> Verdict | None:
        known = self._known.get(schema)
        if known is None or not known.cost.is_small(text):
            return None
        return Verdict(schema, known.problem(parse(text)))

    @override
    async def check(self, schema: str, text: str) -> Verdict:
        if schema not in self._known:
            await self._learn(schema)
        if (verdict := self.check_small(schema, text)) is not None:
            return verdict
        result = await self._ask(schema, text)
        if result is None:
            return Verdict(schema, f"at the whole input: {_TOO_MUCH}")
        # A stored schema that an older release accepted, and this release refuses, accepts no input.
        return Verdict(schema, result.get("invalid") or result.get("problem"))

    @override
    async def check_schema(self, schema: str) -> None:
        result = await self._ask(schema, None)
        if result is None:
            raise InvalidSchema("it takes more time or memory to compile than allowed: simplify its patterns")
        if problem := result.get("invalid") or result["too_heavy"]:
            raise InvalidSchema(problem)

    async def _learn(self, schema: str) -> None:
        """Find out whether a schema may be compiled in the event loop."""
        result = await self._ask(schema, None)
        cheap = result is not None and result.get("seconds", _COMPILE_SECONDS_MAX) < _COMPILE_SECONDS_MAX
        self._known[schema] = Schema(schema) if cheap else None
        if len(self._known) > _KNOWN_MAX:
            self._known.popitem(last=False)

    async def _ask(self, schema: str, text: str | None) -> dict[str, Any] | None:
        if self._waiting >= _WAITING_MAX:
            raise Overloaded
        self._waiting += 1
        asked = asyncio.create_task(self._ask_in_turn({"schema": schema, "input": text}))
        self._asked.add(asked)
        asked.add_done_callback(self._asked.discard)
        # Shielded from the caller's cancellation: the next question would receive the response to this one.
        return await asyncio.shield(asked)

    async def _ask_in_turn(self, question: dict[str, Any]) -> dict[str, Any] | None:
        try:
            async with self._turn:
                result = await asyncio.to_thread(self._worker.ask, question)
        finally:
            self._waiting -= 1
        if result is None:
            log.warning(
                "schema_check_given_up", schema_bytes=len(question["schema"]), input_bytes=len(question["input"] or "")
            )
        return result


class _Worker:
    """The worker process, called from a thread; started when it is needed, and again after it has ended."""

    def __init__(self, cpu_seconds_max: float) -> None:
        self._cpu_seconds_max = cpu_seconds_max
        self._process: subprocess.Popen[bytes] | None = None
        self._ended: weakref.finalize[Any, Any] | None = None

    def ask(self, question: dict[str, Any]) -> dict[str, Any] | None:
        """Return the worker's response; None if the question ended the worker twice, or once by its CPU time.

        Twice, because another process may have ended the worker the first time.

        Raises:
            Overloaded: If the worker hung twice, which says nothing about the question.
        """
        hung = False
        for _ in range(2):
            process = self._running()
            try:
                return self._response(process, framed(question))
            except (OSError, EOFError) as error:
                self._end()
                hung = isinstance(error, TimeoutError)
            if process.returncode == -signal.SIGPROF:
                break
        if hung:
            raise Overloaded
        return None

    def _response(self, process: "subprocess.Popen[bytes]", question: bytes) -> dict[str, Any]:
        questions, responses = (cast("BinaryIO", pipe).fileno() for pipe in (process.stdin, process.stdout))
        until = monotonic() + self._cpu_seconds_max * _PATIENCE
        _write(questions, question, until)
        [length] = LENGTH.unpack(_read(responses, LENGTH.size, until))
        response: dict[str, Any] = orjson.loads(_read(responses, length, until))
        return response

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            command = [sys.executable, "-m", "services.jobs.clients.schema_worker", str(self._cpu_seconds_max)]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            # A question may exceed the pipe's buffer, and the worker may have stopped reading.
            os.set_blocking(cast("BinaryIO", self._process.stdin).fileno(), False)
            self._ended = weakref.finalize(self, _kill, self._process)
        return self._process

    def _end(self) -> None:
        if self._ended is not None:
            self._ended()
        self._process = None


def _kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        # Closing flushes the rest of a question, which fails.
        with suppress(OSError):
            if pipe is not None:
                pipe.close()


def _write(file: int, data: bytes, until: float) -> None:
    left = memoryview(data)
    while left:
        _wait(file, select.POLLOUT, until)
        left = left[os.write(file, left) :]


def _read(file: int, size: int, until: float) -> bytes:
    found = b""
    while len(found) < size:
        _wait(file, select.POLLIN, until)
        part = os.read(file, size - len(found))
        if not part:
            raise EOFError
        found += part
    return found


def _wait(file: int, event: int, until: float) -> None:
    # Not `select.select`, which refuses files beyond the first 1,024 of a process.
    poll = select.poll()
    poll.register(file, event)
    if not poll.poll(max(until - monotonic(), 0) * 1000):
        raise TimeoutError
