"""Responses to errors: domain errors with their reason, all others as INTERNAL without their message."""

import asyncio
import random
from typing import Any

import grpc
import structlog

from innosystem.client import request_id as request_id_variable
from services.kit.errors import DomainError
from services.kit.rpc.layers.access_log import REQUEST_ID_KEY
from services.kit.rpc.layers.call import Call, Context
from services.kit.rpc.status import code_of, internal, to_status

log = structlog.get_logger(__name__)

_DETAILS_KEY = "grpc-status-details-bin"
# https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback
_PUSHBACK_KEY = "grpc-retry-pushback-ms"
_JITTER = (1.0, 1.5)


def reported(call: Call) -> Call:
    """Wrap a call in the handling of its errors."""

    async def reported_call(request: Any, context: Context) -> Any:
        pushback: tuple[tuple[str, str | bytes], ...] = ()
        try:
            return await call(request, context)
        except grpc.aio.AbortError:
            # An inner layer has responded.
            raise
        except grpc.aio.InternalError:
            # An inner layer has responded, but gRPC could not send it: the deadline passed, or the caller left, before.
            raise asyncio.CancelledError from None
        except DomainError as error:
            code, status, pushback = code_of(error.reason), to_status(error), _pushback(error)
            structlog.contextvars.bind_contextvars(reason=error.reason)
            if code is grpc.StatusCode.INTERNAL:
                log.exception("data_corrupt", error=error.message)
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            # A task that the call waited for was cancelled, but not the call: its caller still waits for a response.
            code, status = grpc.StatusCode.INTERNAL, internal(request_id_variable.get())
            log.exception("unexpected_cancellation")
        except Exception:
            code, status = grpc.StatusCode.INTERNAL, internal(request_id_variable.get())
            log.exception("unexpected_error")
        request_id = request_id_variable.get()
        metadata: tuple[tuple[str, str | bytes], ...] = (
            (_DETAILS_KEY, status.SerializeToString()),
            (REQUEST_ID_KEY, request_id),
            *pushback,
        )
        try:
            return await context.abort(code, status.message, metadata)
        except grpc.aio.InternalError:
            raise asyncio.CancelledError from None

    return reported_call


def _pushback(error: DomainError) -> tuple[tuple[str, str | bytes], ...]:
    """Return metadata that delays gRPC's own retries until they may succeed, with jitter."""
    if error.retry_after_seconds is None:
        return ()
    milliseconds = error.retry_after_seconds * 1000 * random.uniform(*_JITTER)  # noqa: S311 - no secret
    return ((_PUSHBACK_KEY, str(round(milliseconds))),)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
