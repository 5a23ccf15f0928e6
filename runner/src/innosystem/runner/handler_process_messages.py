"""The messages between a runner and the processes of its handlers: pickled, each after its length."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from innosystem.runner.batch import RunInput
from innosystem.runner.logs import LogFormat
from innosystem.runner.registry import Mode
from innosystem.runner.saying import Progress

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


@dataclass(frozen=True, slots=True)
class Said:
    """How far the run of a job is. It has no reply.

    Attributes:
        job_id: The job.
        progress: Its progress.
    """

    job_id: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that a running handler leaves. The reply is a CheckpointResult.

    Attributes:
        job_id: The job.
        number: The number by which the reply is recognized.
        text: JSON text.
    """

    job_id: str
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class CheckpointResult:
    """Whether a checkpoint is stored.

    Attributes:
        number: The number of the checkpoint.
        error: Why it is not stored; empty if it is.
        retryable: Whether it may be stored in another run.
    """

    number: int
    error: str = ""
    retryable: bool = True


def framed(message: object) -> bytes:
    """Return the bytes of a request or a reply."""
    payload = pickle.dumps(message)
    return len(payload).to_bytes(LENGTH_BYTES) + payload
