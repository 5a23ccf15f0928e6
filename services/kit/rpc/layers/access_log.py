"""A log line and metrics for each call, and a request ID for all lines of the call and its outgoing calls."""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

import grpc
import structlog
from prometheus_client import Counter, Histogram
from uuid_utils import uuid7

from innosystem.client import request_id as request_id_variable
from services.kit.observability.caller import Caller, caller
from services.kit.rpc.layers.call import Call, Context, ended_by

REQUEST_ID_KEY = "x-request-id"
# Names and labels as in the Prometheus middleware of other languages' gRPC servers.
HANDLED = Counter(
    "grpc_server_handled",
    "Calls that have ended, by status code and kind of caller.",
    ["grpc_service", "grpc_method", "grpc_code", "caller"],
)
HANDLING_SECONDS = Histogram(
    "grpc_server_handling_seconds",
    "How long calls took; not streams, which last as long as their readers want.",
    ["grpc_service", "grpc_method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 90),
)
# Text that logs and headers can contain unchanged.
_SANE = re.compile(r"[!-~]{1,128}", re.ASCII)


def logged(method: str, call: Call, *, quiet: bool = False, streams: bool = False) -> Call:
    """Wrap a call in its log line and metrics.

    Args:
        method: The full name of the method: `/package.Service/Method`.
        call: The next layer.
        quiet: Whether the line is for debugging only: probes call every second, and are in no metrics.
        streams: Whether the method streams its responses.
    """
    # Bound once: an unbound logger would be bound again for each line.
    log = structlog.get_logger(__name__).bind()
    write = log.debug if quiet else log.info
    count = (lambda code, kind, seconds: None) if quiet else _counting(method, streams=streams)

    async def logged_call(request: Any, context: Context) -> Any:
        request_id = _request_id(context)
        request_id_variable.set(request_id)
        peer = context.peer()
        caller.set(Caller(peer, method, request_id))
        begun = time.perf_counter()
        code = "UNKNOWN"
        try:
            response = await call(request, context)
        except grpc.aio.AbortError:
            code = context.code().name
            raise
        except asyncio.CancelledError:
            code = ended_by(context).name
            raise
        else:
            code = "OK"
            return response
        finally:
            seconds = time.perf_counter() - begun
            who = caller.get()
            count(code, who.kind, seconds)
            known = {"actor": who.actor} if who.kind else {}
            write("call", code=code, duration_ms=round(seconds * 1000, 3), peer=peer, **known)

    return logged_call


def _counting(method: str, *, streams: bool) -> Callable[[str, str, float], None]:
    """Return the function that counts the end of a call, by its code, kind of caller and duration."""
    service, _, name = method.removeprefix("/").partition("/")
    observe = None if streams else HANDLING_SECONDS.labels(service, name).observe

    def count(code: str, kind: str, seconds: float) -> None:
        HANDLED.labels(service, name, code, kind.lower()).inc()
        if observe is not None:
            observe(seconds)

    return count


def _request_id(context: Context) -> str:
    """Return the caller's request ID if it is sane, else a new one."""
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID_KEY and isinstance(value, str) and _SANE.fullmatch(value):
            return value
    return str(uuid7())
