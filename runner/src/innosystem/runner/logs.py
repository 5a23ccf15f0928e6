"""The runner's log on standard output: one JSON object per line, or lines for people on a terminal.

If standard output fails or is not read, lines are lost, but never a job: see `innosystem.shared.log_lines`.
"""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal, TypeAlias

import orjson
import structlog
from structlog.typing import EventDict, Processor

from innosystem.client import request_id as request_id_variable
from innosystem.runner.context import JobContext
from innosystem.shared.log_lines import LogLines
from innosystem.shared.log_writers import LineHandler, LineLogger, never_raising, plain, replace_standard_streams

LogFormat: TypeAlias = Literal["auto", "json", "console"]

_LINE_OPTIONS: Final = orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE

_arguments: tuple[str, LogFormat] = ("INFO", "auto")

log = structlog.get_logger()


def configure_logs(level: str = "INFO", log_format: LogFormat = "auto") -> None:
    """Set up structlog, and route the standard library's logging through it.

    Args:
        level: The least important level to write, such as `INFO`.
        log_format: `json`, or `console` for people; `auto` is `console` on a terminal, otherwise `json`.
    """
    global _arguments  # noqa: PLW0603 - logging is global, and so is its configuration
    _arguments = (level, log_format)
    lines = LogLines(sys.stdout, recovered=_log_lost)
    as_json = log_format == "json" or (log_format == "auto" and not lines.is_terminal())
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        *([_add_service] if as_json else []),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso" if as_json else "%H:%M:%S", utc=as_json),
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = _json if as_json else structlog.dev.ConsoleRenderer(colors=lines.is_terminal())
    replace_standard_streams(lines)
    structlog.configure(
        processors=[*shared, _json_line] if as_json else [*shared, renderer, _line],
        wrapper_class=never_raising(structlog.make_filtering_bound_logger(number), lines),
        logger_factory=lambda *_: LineLogger(lines),
        cache_logger_on_first_use=True,
    )
    # Handlers and their libraries may use any kind of logging: all of it becomes the same kind of lines.
    handler = LineHandler(lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=number, force=True)


def log_arguments() -> tuple[str, LogFormat]:
    """Return the arguments of `configure_logs`, for the configuration of other processes."""
    return _arguments


def _add_service(_: object, __: str, event: EventDict) -> EventDict:
    # The services add the same key, so that their logs and the runner's can be merged.
    event["service"] = "runner"
    return event


def _json_line(_: object, __: str, event: EventDict) -> bytes:
    try:
        return orjson.dumps(event, default=repr, option=_LINE_OPTIONS)
    except Exception:  # noqa: BLE001 - lone surrogates, integers beyond 64 bits, cycles, a __repr__ that raises
        return orjson.dumps({plain(key): _fit(value) for key, value in event.items()}, option=_LINE_OPTIONS)


def _fit(value: object) -> object:
    """Return a value that can be written, or a description of one that cannot: a line must not get lost."""
    try:
        orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except Exception:  # noqa: BLE001 - as above
        return plain(value)
    return value


def _json(logger: object, name: str, event: EventDict) -> str:
    return _json_line(logger, name, event).decode().rstrip("\n")


def _line(_: object, __: str, text: Any) -> bytes:
    return f"{text}\n".encode(errors="backslashreplace")


def _log_lost(lines: int) -> None:
    log.error("log_lines_lost", lines=lines)


@contextmanager
def jobs_in_logs(jobs: Sequence[JobContext]) -> Iterator[None]:
    """Add the jobs of a call to everything that is logged meanwhile: one as `job_in_logs`, or the number of several."""
    if len(jobs) == 1:
        with job_in_logs(jobs[0]):
            yield
    else:
        with structlog.contextvars.bound_contextvars(handler=jobs[0].processing_logic_id, jobs=len(jobs)):
            yield


@contextmanager
def job_in_logs(job: JobContext) -> Iterator[None]:
    """Add the job to everything that is logged meanwhile, and its request ID to calls."""
    token = request_id_variable.set(job.request_id)
    bound = structlog.contextvars.bind_contextvars(**job.log_fields)
    try:
        yield
    finally:
        structlog.contextvars.reset_contextvars(**bound)
        request_id_variable.reset(token)
