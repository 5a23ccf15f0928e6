"""Logs: one JSON object a line on standard output, with what the context knows (request ID, method) in each.

Secrets are never logged: keys and database addresses are not handed to the logger anywhere.
"""

import logging
import sys
from typing import Any

import orjson
import structlog

from services.kit.settings import LogSettings


def configure(settings: LogSettings, *, service: str) -> None:
    """Sets logging up for the process, for structlog and for libraries that use the standard library's logging.

    Args:
        settings: Level and format.
        service: The name that each line carries.
    """

    def add_service(_: Any, __: str, event: Any) -> Any:
        event["service"] = service
        return event

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        add_service,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
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
            foreign_pre_chain=shared,
        )
    )
    # Libraries say what matters at WARNING; their INFO is a line for each statement or connection.
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


def _dumps(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()
