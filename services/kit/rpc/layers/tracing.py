"""A span for each call, as a part of the caller's trace (W3C `traceparent`)."""

import asyncio
from typing import Any

import grpc
from opentelemetry import propagate, trace

from services.kit.observability.tracing import is_recorded
from services.kit.rpc.layers.call import Call, Context, ended_by

_SYSTEM = "grpc"


def traced(method: str, call: Call) -> Call:
    """Wrap a call in a span, if the process has a tracer provider.

    Args:
        method: The full name of the method: `/package.Service/Method`.
        call: The next layer.
    """
    if not is_recorded():
        return call
    tracer = trace.get_tracer(__name__)
    service, _, name = method.removeprefix("/").partition("/")
    attributes = {"rpc.system": _SYSTEM, "rpc.service": service, "rpc.method": name}

    async def traced_call(request: Any, context: Context) -> Any:
        carrier = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        with tracer.start_as_current_span(
            method.removeprefix("/"),
            propagate.extract(carrier),
            kind=trace.SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                response = await call(request, context)
            except grpc.aio.AbortError:
                _end(span, context.code())
                raise
            except asyncio.CancelledError:
                _end(span, ended_by(context))
                raise
            _end(span, grpc.StatusCode.OK)
            return response

    return traced_call


def _end(span: trace.Span, code: grpc.StatusCode) -> None:
    span.set_attribute("rpc.grpc.status_code", code.value[0])
    if code is not grpc.StatusCode.OK:
        span.set_status(trace.StatusCode.ERROR, code.name)
