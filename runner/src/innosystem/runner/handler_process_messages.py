"""The messages between a runner and the processes of its handlers: pickled, each after its length."""

import pickle
from dataclasses import dataclass
from typing import Final

from innosystem.runner.context import JobContext
from innosystem.runner.logs import LogFormat

LENGTH_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class LoadHandlers:
    """A request to import the modules with the handlers. The reply is the IDs of the handlers, a frozenset.

    Attributes:
        modules: The modules.
        log_level: The level of `configure_logs`.
        log_format: The format of `configure_logs`.
    """

    modules: list[str]
    log_level: str
    log_format: LogFormat


@dataclass(frozen=True, slots=True)
class RunHandler:
    """A request to run a handler. The reply is the outcome.

    Attributes:
        handler_id: The ID of the handler.
        input_json: The input of the job.
        job: The job.
    """

    handler_id: str
    input_json: str
    job: JobContext


def framed(message: object) -> bytes:
    """Return the bytes of a request or a reply."""
    payload = pickle.dumps(message)
    return len(payload).to_bytes(LENGTH_BYTES) + payload
