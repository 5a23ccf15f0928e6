"""Logs: one JSON object a line on standard output, with the fields of the context (request ID, method).

A standard output that fails or is not read costs only lines: see `innosystem.shared.log_lines`.

Lines of libraries that use the standard library's logging have the same form. Secrets are never passed to the logger;
values that look like one are masked all the same, because an error of a driver may quote its address.
"""

import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from prometheus_client import Counter

from innosystem.shared.log_lines import LogLines
from innosystem.shared.log_writers import LineHandler, LineLogger, never_raising, plain, replace_standard_streams
from services.kit.observability.caller import caller
from services.kit.settings import LogSettings

_MASK = "**********"
_SECRET_KEYS = frozenset({"api_key", "authorization", "password", "secret", "token"})
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^\s:/@]*):[^\s@]*@")

_LOST = Counter("innosystem_log_lines_lost", "Lines of the log that standard output did not take")

_LINE_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE

log = structlog.get_logger(__name__)


def configure(settings: LogSettings, *, service: str, process: int | None = None) -> None:
    """Set up logging for the process, for structlog and for libraries that use the standard library's logging.

    Args:
        settings: Level and format.
        service: The service's name, a field of each line.
        process: The number of the process, a field of each line; None for a service's only process.
    """
    shared = _processors({"service": service} if process is None else {"service": service, "process": process})
    level = logging.getLevelNamesMapping()[settings.level]
    lines = LogLines(sys.stdout, lost=_LOST.inc, recovered=_say_lost)
    as_json = settings.format == "json" or (settings.format == "auto" and not lines.is_terminal())
    renderer: Any = _json if as_json else structlog.dev.ConsoleRenderer(colors=lines.is_terminal())
    replace_standard_streams(lines)
    structlog.configure(
        # Bytes as they come from the encoder: a line is written for every call.
        processors=[*shared, _json_line] if as_json else [*shared, renderer, _line],
        wrapper_class=never_raising(structlog.make_filtering_bound_logger(level), lines),
        logger_factory=lambda *_: LineLogger(lines),
        cache_logger_on_first_use=True,
    )
    handler = LineHandler(lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        )
    )
    # Libraries log important events at WARNING, and each statement or connection at INFO.
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    logging.captureWarnings(capture=True)


def add_call(_: Any, __: str, event: Any) -> Any:
    """Add the request ID and method of the current call to a log line."""
    call = caller.get()
    if call.request_id:
        event.setdefault("request_id", call.request_id)
        event.setdefault("method", call.method)
    return event


def mask_secrets(_: Any, __: str, event: Any) -> Any:
    """Mask values in a log line that look like secrets: by their names, and passwords in URLs."""
    for key, value in event.items():
        if key in _SECRET_KEYS:
            event[key] = _MASK
        elif isinstance(value, str) and "://" in value:
            event[key] = _PASSWORD_IN_URL.sub(rf"\1:{_MASK}@", value)
    return event


def _processors(service: Mapping[str, Any]) -> list[Any]:
    def add_service_and_time(_: Any, __: str, event: Any) -> Any:
        event.update(service)
        event["timestamp"] = datetime.now(UTC)
        return event

    return [
        structlog.contextvars.merge_contextvars,
        add_call,
        add_service_and_time,
        structlog.stdlib.add_log_level,
        structlog.processors.format_exc_info,
        mask_secrets,
    ]


def _json_line(_: Any, __: str, event: Any) -> bytes:
    try:
        return orjson.dumps(event, default=str, option=_LINE_OPTIONS)
    except Exception:  # noqa: BLE001 - lone surrogates, integers beyond 64 bits, cycles, a __str__ that raises
        return orjson.dumps({plain(key): _fit(value) for key, value in event.items()}, option=_LINE_OPTIONS)


def _fit(value: Any) -> Any:
    """Return a value if it can be encoded; else its description, which is better than no line."""
    try:
        orjson.dumps(value)
    except Exception:  # noqa: BLE001 - as above
        return plain(value)
    return value


def _json(logger: Any, name: str, event: Any) -> str:
    return _json_line(logger, name, event).decode().rstrip("\n")


def _line(_: Any, __: str, text: Any) -> bytes:
    return f"{text}\n".encode(errors="backslashreplace")


def _say_lost(lines: int) -> None:
    log.error("log_lines_lost", lines=lines)
