"""Spans, for whoever runs a process under OpenTelemetry: by `opentelemetry-instrument` and OTEL_... variables.

Only OpenTelemetry's API is used. Without a provider of spans there are none, and nothing is paid for them.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from opentelemetry import trace

_NOTHING = nullcontext()


def is_recorded() -> bool:
    """Whether the process has been given a provider of spans."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def span(name: str, **attributes: str) -> AbstractContextManager[Any]:
    """Makes a span around a block, within the span that is open; nothing if nobody records."""
    if not is_recorded():
        return _NOTHING
    named = {f"innosystem.{key}": value for key, value in attributes.items()}
    return trace.get_tracer("innosystem").start_as_current_span(name, attributes=named)
