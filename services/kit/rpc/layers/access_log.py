"""A log line for each call, and a request ID for all lines of the call and its outgoing calls."""

import asyncio
import re
import time
from typing import Any

import grpc
import structlog
from uuid_utils import uuid7

from innosystem.client import request_id as request_id_variable
from services.kit.observability.caller import Caller, caller
from services.kit.rpc.layers.call import Call, Context, ended_by

REQUEST_ID_KEY = "x-request-id"
# Text that logs and headers can contain unchanged.
_SANE = re.compile(r"[!-~]{1,128}", re.ASCII)


def logged(method: str, call: Call, *, quiet: bool = False) -> Call:
    """Wrap a call in its log line.

    Args:
        method: The full name of the method: `/package.Service/Method`.
        call: The next layer.
        quiet: Whether the line is for debugging only: probes call every second.
    """
    # Bound once: an unbound logger would be bound again for each line.
    log = structlog.get_logger(__name__).bind()
    write = log.debug if quiet else log.info

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
            milliseconds = round((time.perf_counter() - begun) * 1000, 3)
            write("call", code=code, duration_ms=milliseconds, peer=peer)

    return logged_call


def _request_id(context: Context) -> str:
    """Return the caller's request ID if it is sane, else a new one."""
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID_KEY and isinstance(value, str) and _SANE.fullmatch(value):
            return value
    return str(uuid7())
