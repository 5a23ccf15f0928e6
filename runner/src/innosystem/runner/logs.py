"""The runner's log: one JSON object a line on standard output."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import orjson
import structlog
from structlog.typing import EventDict, Processor

from innosystem.client import request_id as request_id_variable
from innosystem.runner.context import JobContext

LogFormat: TypeAlias = Literal["json", "console"]

_arguments: tuple[str, LogFormat] = ("INFO", "json")


def configure_logs(level: str = "INFO", log_format: LogFormat = "json") -> None:
    """Set up structlog, and the standard library's logging to write through it.

    Args:
        level: The least important level to write, such as `INFO`.
        log_format: `json`, or `console` for people.
    """
    global _arguments  # noqa: PLW0603 - logging is global, and so is how it was set up
    _arguments = (level, log_format)
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_service,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
        if log_format == "console"
        else structlog.processors.JSONRenderer(serializer=_to_json)
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    # Handlers, and the libraries they use, log in their own ways: all ends in the same lines.
    lines = logging.StreamHandler(sys.stdout)
    lines.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[lines], level=number, force=True)


def log_arguments() -> tuple[str, LogFormat]:
    """Answer what logs were configured with, for other processes to do the same."""
    return _arguments


def _add_service(_: Any, __: str, event: EventDict) -> EventDict:
    # The services name themselves in the same way: their logs and the runner's can be read together.
    event["service"] = "runner"
    return event


def _to_json(event: EventDict, **_: Any) -> str:
    return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()


@contextmanager
def job_in_logs(job: JobContext) -> Iterator[None]:
    """Name the job in all that is logged meanwhile, and carry its request ID on in calls."""
    token = request_id_variable.set(job.request_id)
    bound = structlog.contextvars.bind_contextvars(
        job_id=job.job_id, handler=job.processing_logic_id, request_id=job.request_id
    )
    try:
        yield
    finally:
        structlog.contextvars.reset_contextvars(**bound)
        request_id_variable.reset(token)
