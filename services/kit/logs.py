"""Logs: one JSON object a line on standard output, with what the context knows (request ID, method) in each.

Lines of libraries that use the standard library's logging look the same. Secrets are not handed to the logger
anywhere; what looks like one is masked all the same, because an error of a driver may quote the address it was given.
"""

import logging
import re
import sys
from typing import Any

import orjson
import structlog

from services.kit.settings import LogSettings

_MASK = "**********"
_SECRET_KEYS = frozenset({"api_key", "authorization", "password", "secret", "token"})
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^\s:/@]*):[^\s@]*@")


def configure(settings: LogSettings, *, service: str) -> None:
    """Sets logging up for the process, for structlog and for libraries that use the standard library's logging.

    Args:
        settings: Level and format.
        service: The name that each line carries.
    """
    shared = _processors(service)
    as_json = settings.format == "json"
    renderer: Any = structlog.processors.JSONRenderer(_dumps) if as_json else structlog.dev.ConsoleRenderer()
    level = logging.getLevelNamesMapping()[settings.level]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
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


def mask_secrets(_: Any, __: str, event: Any) -> Any:
    """Masks what looks like a secret in a log line: values under telling names, and passwords in URLs."""
    for key, value in event.items():
        if key in _SECRET_KEYS:
            event[key] = _MASK
        elif isinstance(value, str) and "://" in value:
            event[key] = _PASSWORD_IN_URL.sub(rf"\1:{_MASK}@", value)
    return event


def _processors(service: str) -> list[Any]:
    def add_service(_: Any, __: str, event: Any) -> Any:
        event["service"] = service
        return event

    return [
        structlog.contextvars.merge_contextvars,
        add_service,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask_secrets,
    ]


def _dumps(event: Any, **_: Any) -> str:
    try:
        return orjson.dumps(event, default=str).decode()
    except TypeError:
        # orjson refuses lone surrogates and keys that are not text. The line is worth more than its exact form.
        return orjson.dumps({str(key): ascii(value) for key, value in event.items()}).decode()
