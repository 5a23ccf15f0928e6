"""The messages between a runner and the processes of its handlers: pickled, each after its length."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from innosystem.runner.batch import RunInput
from innosystem.runner.logs import LogFormat
from innosystem.runner.registry import Mode

LENGTH_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class LoadHandlers:
    """A request to import the modules with the handlers, and to make their resources.

    The reply is the IDs of the handlers, a frozenset; or a NotLoaded, after which the process ends.

    Attributes:
        modules: The modules.
        modes: The modes of the handlers that the process will run: only their resources are made.
        log_level: The level of `configure_logs`.
        log_format: The format of `configure_logs`.
    """

    modules: list[str]
    modes: Sequence[Mode]
    log_level: str
    log_format: LogFormat


@dataclass(frozen=True, slots=True)
class NotLoaded:
    """The reply of a process that cannot import the modules, or make the resources.

    Attributes:
        error: Why, for the author.
    """

    error: str


@dataclass(frozen=True, slots=True)
class RunHandler:
    """A request to run a handler. The reply is a list with the outcome of each job.

    Attributes:
        handler_id: The ID of the handler.
        inputs: The jobs: one, or those of a batch.
    """

    handler_id: str
    inputs: Sequence[RunInput]


def framed(message: object) -> bytes:
    """Return the bytes of a request or a reply."""
    payload = pickle.dumps(message)
    return len(payload).to_bytes(LENGTH_BYTES) + payload
