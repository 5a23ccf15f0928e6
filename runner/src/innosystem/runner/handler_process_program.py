"""The program of a `HandlerProcess`: run handlers, one at a time, until the socket closes."""

import contextvars
import os
import pickle
import queue
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final, TypeAlias

import structlog
import uvloop

from innosystem.runner.errors import HandlerRegistrationError
from innosystem.runner.fork_signals import reset_signals_in_forks
from innosystem.runner.handler_process_messages import LENGTH_BYTES, LoadHandlers, RunHandler, framed
from innosystem.runner.logs import configure_logs, job_in_logs
from innosystem.runner.outcome import Outcome, failure
from innosystem.runner.registry import Mode, default_registry
from innosystem.runner.task_and_thread_executor import call_blocking, call_coroutine
from innosystem.shared.log_lines import flush_all

log = structlog.get_logger()

_NOT_LOADED_STATUS: Final = 2

Messages: TypeAlias = "queue.SimpleQueue[LoadHandlers | RunHandler]"


def main(descriptor: int) -> None:
    """Serve the socket with this file descriptor."""
    # Only the runner stops this process: when a service manager signals all processes, the runner still waits for the
    # handler. Not SIG_IGN, because programs that handlers start would inherit that.
    signal.signal(signal.SIGINT, _ignore)
    signal.signal(signal.SIGTERM, _ignore)
    reset_signals_in_forks()
    with socket.socket(fileno=descriptor) as connection:
        connection.set_inheritable(False)
        messages: Messages = queue.SimpleQueue()
        threading.Thread(target=_read, args=(connection, messages), daemon=True).start()
        # Without a runner no reply can be sent, and `_read` is about to end the process.
        with suppress(OSError):
            _serve(connection, messages)


def _ignore(number: int, frame: FrameType | None) -> None:
    return


def _serve(connection: socket.socket, messages: Messages) -> None:
    directory = Path.cwd()
    while True:
        message = messages.get()
        if isinstance(message, LoadHandlers):
            configure_logs(message.log_level, message.log_format)
            try:
                default_registry.load(message.modules)
            except HandlerRegistrationError as exc:
                # The module has changed since the runner started: its author sees the same as at the start.
                log.error("handlers_not_loaded", error=str(exc))  # noqa: TRY400 - the traceback is in the message
                flush_all()
                os._exit(_NOT_LOADED_STATUS)
            directory = Path.cwd()
            _reply(connection, frozenset(default_registry))
        else:
            # The previous handler may have changed the directory.
            os.chdir(directory)
            _reply(connection, _run(message))


def _run(message: RunHandler) -> Outcome:
    handler = default_registry.get(message.handler_id)
    if handler is None:
        return failure("UNKNOWN_HANDLER", f"The process has no handler {message.handler_id!r}")
    with job_in_logs(message.job):
        if handler.mode is Mode.COROUTINE:
            return uvloop.run(call_coroutine(handler, message.input_json, message.job))
        # As in a thread of the runner: context variables that the handler sets end with its job.
        return contextvars.copy_context().run(call_blocking, handler, message.input_json, message.job)


def _read(connection: socket.socket, messages: Messages) -> None:
    """Pass on messages. The end of the stream means that the runner is gone: exit even in mid-handler."""
    # A runner that was killed with an unread reply leaves a reset instead of the end of the stream.
    with suppress(OSError), connection.makefile("rb") as stream:
        while length := stream.read(LENGTH_BYTES):
            # From the process that started this one, through a private socket.
            messages.put(pickle.loads(stream.read(int.from_bytes(length))))  # noqa: S301
    flush_all()
    if os.getpgrp() == os.getpid():
        # With all processes that the handler has started. If this thread cannot run, the runner's guard kills them.
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _reply(connection: socket.socket, reply: object) -> None:
    connection.sendall(framed(reply))
