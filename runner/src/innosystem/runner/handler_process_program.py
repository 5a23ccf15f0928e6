"""The program of a `HandlerProcess`: run handlers, one at a time, until the socket closes."""

import asyncio
import contextvars
import os
import pickle
import queue
import signal
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Final, TypeAlias

import structlog
import uvloop

from innosystem.runner.batch import RunInput
from innosystem.runner.calling import call_batch_blocking, call_batch_coroutine, call_blocking, call_coroutine
from innosystem.runner.context import JobContext
from innosystem.runner.errors import HandlerRegistrationError
from innosystem.runner.fork_signals import reset_signals_in_forks
from innosystem.runner.handler_process_listener import ProcessListener, ProcessListeners
from innosystem.runner.handler_process_messages import (
    LENGTH_BYTES,
    CheckpointResult,
    LoadHandlers,
    NotLoaded,
    RunHandler,
    framed,
)
from innosystem.runner.logs import configure_logs, jobs_in_logs
from innosystem.runner.outcome import Failed, Outcome, Succeeded, failure
from innosystem.runner.registry import Handler, Mode, default_registry
from innosystem.runner.resources import CLOSE_SECONDS, Values, made
from innosystem.shared.log_lines import flush_all

log = structlog.get_logger()

_NOT_LOADED_STATUS: Final = 2

Messages: TypeAlias = "queue.SimpleQueue[LoadHandlers | RunHandler | None]"


def main(descriptor: int) -> None:
    """Serve the socket with this file descriptor."""
    # Only the runner stops this process: when a service manager signals all processes, the runner still waits for the
    # handler. Not SIG_IGN, because programs that handlers start would inherit that.
    signal.signal(signal.SIGINT, _ignore)
    signal.signal(signal.SIGTERM, _ignore)
    reset_signals_in_forks()
    with socket.socket(fileno=descriptor) as connection:
        connection.set_inheritable(False)
        program = _Program(connection)
        threading.Thread(target=program.read, daemon=True).start()
        # Without a runner no reply can be sent, and `read` is about to end the process.
        with suppress(OSError):
            program.serve()


def _sendable(outcome: Outcome, job: JobContext) -> Outcome:
    """Return an outcome with what the job has used here, and without what was raised, whose class may be unknown."""
    if isinstance(outcome, Failed):
        return replace(outcome, exception=None)
    return replace(outcome, usage_units=job.usage_meter.units) if isinstance(outcome, Succeeded) else outcome


def _ignore(number: int, frame: FrameType | None) -> None:
    return


class _Program:
    """The handlers of a process, its resources, and the event loop that both live in.

    Args:
        connection: The socket to the runner.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._listeners = ProcessListeners(self._reply)
        self._messages: Messages = queue.SimpleQueue()
        self._handlers: Mapping[str, Handler] = {}
        self._loop = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._ending = asyncio.Event()
        self._lifetime: asyncio.Task[None] | None = None
        self._busy = threading.Lock()
        self._closed = threading.Event()

    def serve(self) -> None:
        """Reply to messages, until there are no more."""
        directory = Path.cwd()
        while (message := self._messages.get()) is not None:
            with self._busy:
                if isinstance(message, LoadHandlers):
                    self._reply(self._load(message))
                    directory = Path.cwd()
                else:
                    # The previous handler may have changed the directory.
                    os.chdir(directory)
                    jobs = [job for _, job in message.inputs]
                    self._reply([*map(_sendable, self._run(message), jobs)])
        self._loop.run(self._end())
        self._closed.set()

    def _load(self, message: LoadHandlers) -> frozenset[str]:
        configure_logs(message.log_level, message.log_format)
        try:
            default_registry.load(message.modules)
            values = self._loop.run(self._begin(message))
        except HandlerRegistrationError as exc:
            self._reply(NotLoaded(str(exc)))
            flush_all()
            os._exit(_NOT_LOADED_STATUS)
        handlers = [handler for each in default_registry if (handler := default_registry.get(each)) is not None]
        self._handlers = {each.id: each.bound(values) if each.mode in message.modes else each for each in handlers}
        return frozenset(default_registry)

    async def _begin(self, message: LoadHandlers) -> Values:
        """Make the resources, in a task that closes them at the end: some libraries demand the same task for both."""
        ready: asyncio.Future[Values] = asyncio.get_running_loop().create_future()
        self._lifetime = asyncio.create_task(self._hold(message, ready))
        return await ready

    async def _hold(self, message: LoadHandlers, ready: "asyncio.Future[Values]") -> None:
        try:
            async with made(default_registry.resources(message.modes)) as values:
                ready.set_result(values)
                await self._ending.wait()
        except HandlerRegistrationError as exc:
            ready.set_exception(exc)

    async def _end(self) -> None:
        self._ending.set()
        if self._lifetime is not None:
            await self._lifetime

    def _run(self, message: RunHandler) -> list[Outcome]:
        handler, inputs = self._handlers.get(message.handler_id), message.inputs
        if handler is None:
            missing = failure("UNKNOWN_HANDLER", f"The process has no handler {message.handler_id!r}")
            return [missing] * len(inputs)
        listeners = [ProcessListener(job.job_id, self._listeners) for _, job in inputs]
        heard = [(text, replace(job, listener=one)) for (text, job), one in zip(inputs, listeners, strict=True)]
        try:
            with jobs_in_logs([job for _, job in heard]):
                return self._outcomes(handler, heard)
        finally:
            for one in listeners:
                one.run_is_over()

    def _outcomes(self, handler: Handler, inputs: Sequence[RunInput]) -> list[Outcome]:
        # As in the runner: context variables that the handler sets end with its job.
        context = contextvars.copy_context()
        in_loop = handler.mode is Mode.COROUTINE
        if handler.batch is not None:
            if in_loop:
                return self._loop.run(call_batch_coroutine(handler, inputs), context=context)
            return context.run(call_batch_blocking, handler, inputs)
        [(input_json, job)] = inputs
        if in_loop:
            return [self._loop.run(call_coroutine(handler, input_json, job), context=context)]
        return [context.run(call_blocking, handler, input_json, job)]

    def read(self) -> None:
        """Pass on messages. The end of the stream means that the runner is gone: exit even in mid-handler."""
        # A runner that was killed with an unread reply leaves a reset instead of the end of the stream.
        with suppress(OSError), self._connection.makefile("rb") as stream:
            while length := stream.read(LENGTH_BYTES):
                # From the process that started this one, through a private socket.
                message = pickle.loads(stream.read(int.from_bytes(length)))  # noqa: S301 - of the runner
                if isinstance(message, CheckpointResult):
                    self._listeners.stored(message)
                else:
                    self._messages.put(message)
        self._close_resources()
        flush_all()
        if os.getpgrp() == os.getpid():
            # With all processes that the handler has started. If this thread cannot run, the runner's guard kills them.
            os.killpg(0, signal.SIGKILL)
        os._exit(0)

    def _close_resources(self) -> None:
        """Let the main thread close the resources, unless a handler runs there."""
        if self._busy.locked() or not self._messages.empty():
            return
        self._messages.put(None)
        self._closed.wait(CLOSE_SECONDS)

    def _reply(self, reply: object) -> None:
        # Handlers may speak from threads of their own.
        with self._sending:
            self._connection.sendall(framed(reply))
