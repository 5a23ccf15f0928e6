"""The other end of `processes`: runs handlers, one at a time, until its socket closes."""

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
from typing import Any

import uvloop

from innosystem.runner.context import JobContext
from innosystem.runner.fork_signals import reset_signals_in_forks
from innosystem.runner.handler_process import LENGTH_BYTES
from innosystem.runner.logs import configure_logs, job_in_logs
from innosystem.runner.outcome import Outcome, failure
from innosystem.runner.registry import Mode, default_registry
from innosystem.runner.task_and_thread_executor import call_blocking, call_coroutine
from innosystem.shared.log_lines import flush_all


def main(descriptor: int) -> None:
    """Serve the socket with this file descriptor."""
    # Stopped by its runner only, which still waits for the handler when all processes of a service are told to stop.
    # Not SIG_IGN: programs that handlers start would inherit it.
    signal.signal(signal.SIGINT, _ignore)
    signal.signal(signal.SIGTERM, _ignore)
    reset_signals_in_forks()
    with socket.socket(fileno=descriptor) as connection:
        connection.set_inheritable(False)
        messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=_read, args=(connection, messages), daemon=True).start()
        modules, logs = messages.get()
        configure_logs(*logs)
        default_registry.load(modules)
        # Without a runner there is nobody to answer to, and `_read` is about to end the process.
        with suppress(OSError):
            _answer(connection, frozenset(default_registry))
            directory = Path.cwd()
            while True:
                message = messages.get()
                # The handler before may have changed it.
                os.chdir(directory)
                _answer(connection, _run(*message))


def _ignore(number: int, frame: FrameType | None) -> None:
    return


def _run(handler_id: str, input_json: str, job: JobContext) -> Outcome:
    handler = default_registry.get(handler_id)
    if handler is None:
        return failure("UNKNOWN_HANDLER", f"The process has no handler {handler_id!r}")
    with job_in_logs(job):
        if handler.mode is Mode.COROUTINE:
            return uvloop.run(call_coroutine(handler, input_json, job))
        # As in a thread of the runner: what the handler sets is gone with its job.
        return contextvars.copy_context().run(call_blocking, handler, input_json, job)


def _read(connection: socket.socket, messages: "queue.SimpleQueue[Any]") -> None:
    """Hand on what comes. At the end of the socket the runner is gone: end in mid-handler."""
    # A runner that was killed before it read an answer leaves no end of the stream, but a reset.
    with suppress(OSError), connection.makefile("rb") as stream:
        while length := stream.read(LENGTH_BYTES):
            # From the process that started this one, through a socket that nobody else has.
            messages.put(pickle.loads(stream.read(int.from_bytes(length))))  # noqa: S301
    flush_all()
    if os.getpgrp() == os.getpid():
        # With all that the handler has started. What prevents this thread from running, the runner's guard kills.
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _answer(connection: socket.socket, answer: object) -> None:
    payload = pickle.dumps(answer)
    connection.sendall(len(payload).to_bytes(LENGTH_BYTES) + payload)
