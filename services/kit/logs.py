"""Logs: one JSON object a line on standard output, with what the context knows (request ID, method) in each.

Lines of libraries that use the standard library's logging look the same. Secrets are not handed to the logger
anywhere; what looks like one is masked all the same, because an error of a driver may quote the address it was given.
"""

import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

from services.kit.origin import origin
from services.kit.settings import LogSettings

_MASK = "**********"
_SECRET_KEYS = frozenset({"api_key", "authorization", "password", "secret", "token"})
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^\s:/@]*):[^\s@]*@")


def configure(settings: LogSettings, *, service: str, process: int | None = None) -> None:
    """Sets logging up for the process, for structlog and for libraries that use the standard library's logging.

    Args:
        settings: Level and format.
        service: The name that each line carries.
        process: Which of several processes of it this is, for each line as well; None if it is the only one.
    """
    shared = _processors({"service": service} if process is None else {"service": service, "process": process})
    as_json = settings.format == "json"
    renderer: Any = _json if as_json else structlog.dev.ConsoleRenderer()
    level = logging.getLevelNamesMapping()[settings.level]
    structlog.configure(
        processors=[*shared, _json_bytes if as_json else renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # Bytes as they come from the encoder: a line is written for every call.
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer)
        if as_json
        else structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        )
    )
    # Libraries say what matters at WARNING; their INFO is a line for each statement or connection.
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    logging.captureWarnings(capture=True)


def add_call(_: Any, __: str, event: Any) -> Any:
    """Adds the call that is being served to a log line: its request ID and method."""
    call = origin.get()
    if call.request_id:
        event.setdefault("request_id", call.request_id)
        event.setdefault("method", call.method)
    return event


def mask_secrets(_: Any, __: str, event: Any) -> Any:
    """Masks what looks like a secret in a log line: values under telling names, and passwords in URLs."""
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


def _json_bytes(_: Any, __: str, event: Any) -> bytes:
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_UTC_Z)
    except TypeError:
        # orjson refuses lone surrogates and keys that are not text. The line is worth more than its exact form.
        as_text = {str(key): ascii(value) for key, value in event.items()}
        return orjson.dumps({**as_text, "timestamp": event.get("timestamp")}, option=orjson.OPT_UTC_Z)


def _json(logger: Any, name: str, event: Any) -> str:
    return _json_bytes(logger, name, event).decode()
