"""Spans, for processes that run under OpenTelemetry: with `opentelemetry-instrument` and OTEL_... variables.

Only OpenTelemetry's API is used. Without a tracer provider, spans do not exist and cost nothing.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from opentelemetry import trace

_NOTHING = nullcontext()


def is_recorded() -> bool:
    """Whether the process has a tracer provider."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def span(name: str, **attributes: str) -> AbstractContextManager[Any]:
    """Return a span around a block, within the open span; nothing without a tracer provider."""
    if not is_recorded():
        return _NOTHING
    named = {f"innosystem.{key}": value for key, value in attributes.items()}
    return trace.get_tracer("innosystem").start_as_current_span(name, attributes=named)
