"""Checks inputs with the schemas of their job types so that nobody else has to wait for it.

What is small is checked at once, in the event loop; the rest by a process beside this one, which ends when a check
takes more time or memory than it may.
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

from services.jobs.clients.schema_worker import LENGTH, framed
from services.jobs.rules.schemas.payloads import parse
from services.jobs.rules.schemas.schema import InvalidSchema, Schema
from services.jobs.rules.schemas.verdict import Verdict
from services.jobs.usecases.ports import SchemaChecks
from services.kit.errors import Overloaded

log = structlog.get_logger(__name__)

_KNOWN_MAX = 1000
# What takes longer to compile is never compiled in the event loop.
_COMPILE_SECONDS_MAX = 0.02
_WAITING_MAX = 100
# The process measures its computing time; a clock only tells that it hangs, as when it is stopped from outside.
_PATIENCE = 10
_TOO_MUCH = "it takes more time or memory to check than is allowed; make it smaller, or have the schema simplified"


class IsolatedSchemaChecks(SchemaChecks):
    """Checks inputs and schemas.

    Args:
        cpu_seconds_max: How much computing time a check may take that is not small.
    """

    def __init__(self, cpu_seconds_max: float = 1.0) -> None:
        self._known: OrderedDict[str, Schema | None] = OrderedDict()
        self._worker = _Worker(cpu_seconds_max)
        self._turn = asyncio.Lock()
        self._waiting = 0
        # The loop keeps no more than a weak reference to a task.
        self._asked: set[asyncio.Task[Any]] = set()

    def check_small(self, schema: str, text: str) -> Verdict | None:
        """Checks an input if that is small work; else answers None, and `check` has to be asked."""
        known = self._known.get(schema)
        if known is None or not known.cost.is_small(text):
            return None
        return Verdict(schema, known.problem(parse(text)))

    async def check(self, schema: str, text: str) -> Verdict:
        """Checks an input, however large.

        Args:
            schema: A schema that is stored.
            text: JSON text that can be stored.

        Raises:
            Overloaded: If too many inputs wait for their check.
        """
        if schema not in self._known:
            await self._learn(schema)
        if (verdict := self.check_small(schema, text)) is not None:
            return verdict
        answer = await self._ask(schema, text)
        if answer is None:
            return Verdict(
                schema, f"at the whole input: it {_TOO_MUCH}; make it smaller, or have the schema simplified"
            )
        # A stored schema that an older release took, and this one does not, lets nothing pass unchecked.
        return Verdict(schema, answer.get("invalid") or answer.get("problem"))

    async def check_schema(self, schema: str) -> None:
        """Checks a schema that is to be stored.

        Raises:
            InvalidSchema: If it can't be used, or checks with it could not be bounded.
            Overloaded: If too many inputs wait for their check.
        """
        answer = await self._ask(schema, None)
        if answer is None:
            raise InvalidSchema("it takes more time or memory to compile than is allowed: simplify its patterns")
        if problem := answer.get("invalid") or answer["too_heavy"]:
            raise InvalidSchema(problem)

    async def _learn(self, schema: str) -> None:
        """Finds out whether a schema may be compiled here."""
        answer = await self._ask(schema, None)
        cheap = answer is not None and answer.get("seconds", _COMPILE_SECONDS_MAX) < _COMPILE_SECONDS_MAX
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
        # Not given up half-way when the caller leaves: the next question would get this one's answer.
        return await asyncio.shield(asked)

    async def _ask_in_turn(self, question: dict[str, Any]) -> dict[str, Any] | None:
        try:
            async with self._turn:
                answer = await asyncio.to_thread(self._worker.ask, question)
        finally:
            self._waiting -= 1
        if answer is None:
            log.warning(
                "schema check given up", schema_bytes=len(question["schema"]), input_bytes=len(question["input"] or "")
            )
        return answer


class _Worker:
    """The process, from a thread; it is started when it is needed, and again when it has ended."""

    def __init__(self, cpu_seconds_max: float) -> None:
        self._cpu_seconds_max = cpu_seconds_max
        self._process: subprocess.Popen[bytes] | None = None
        self._ended: weakref.finalize[Any, Any] | None = None

    def ask(self, question: dict[str, Any]) -> dict[str, Any] | None:
        """Asks; None if the process ended over it, twice (somebody else may have ended it) or because of its time.

        Raises:
            Overloaded: If it stood still instead, twice: that says nothing about the question.
        """
        hung = False
        for _ in range(2):
            process = self._running()
            try:
                return self._answer(process, framed(question))
            except (OSError, EOFError) as error:
                self._end()
                hung = isinstance(error, TimeoutError)
            if process.returncode == -signal.SIGPROF:
                break
        if hung:
            raise Overloaded
        return None

    def _answer(self, process: "subprocess.Popen[bytes]", question: bytes) -> dict[str, Any]:
        questions, answers = (cast("BinaryIO", pipe).fileno() for pipe in (process.stdin, process.stdout))
        until = monotonic() + self._cpu_seconds_max * _PATIENCE
        _write(questions, question, until)
        [length] = LENGTH.unpack(_read(answers, LENGTH.size, until))
        answer: dict[str, Any] = orjson.loads(_read(answers, length, until))
        return answer

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            command = [sys.executable, "-m", "services.jobs.clients.schema_worker", str(self._cpu_seconds_max)]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            # A question may be more than fits into the pipe, and nobody may read it.
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
        # The rest of a question can't be written any more.
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
