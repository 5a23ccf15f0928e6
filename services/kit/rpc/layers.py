"""What happens to every call, from the outside in: log, errors, load, deadline, contract.

A layer takes the next one and answers a call around it. The stack is built once a method, not once a call.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import structlog
from google.protobuf.message import Message
from uuid_utils.compat import uuid7

from innosystem.client import request_id as request_id_variable
from services.kit.errors import DomainError, Draining, Overloaded
from services.kit.rpc.status import code_of, internal, to_status
from services.kit.rpc.validation import ContractValidator

Context = grpc.aio.ServicerContext[Any, Any]
Call = Callable[[Message, Context], Awaitable[Any]]

log = structlog.get_logger(__name__)

REQUEST_ID_KEY = "x-request-id"
_REQUEST_ID_LENGTH_MAX = 128
_DETAILS_KEY = "grpc-status-details-bin"


@dataclass
class Load:
    """How busy the server is.

    Attributes:
        calls_max: How many calls may be in flight.
        calls: How many are.
        draining: Whether the server takes no new calls, because it is about to stop.
    """

    calls_max: int
    calls: int = 0
    draining: bool = False


@dataclass(frozen=True)
class Layers:
    """The layers of one server.

    Attributes:
        load: Shared with the server, which drains.
        validator: Knows the rules of the contract.
        deadline_seconds_max: How long a call may take whatever its deadline is.
    """

    load: Load
    deadline_seconds_max: float
    validator: ContractValidator = field(default_factory=ContractValidator)

    def around(self, method: str, call: Call) -> Call:
        """Puts all layers around a method, given by its full name: `/package.Service/Method`."""
        return logged(method, reported(self.limited(self.timed(self.checked(call)))))

    def limited(self, call: Call) -> Call:
        """Refuses calls while the server drains or has as many as it can handle."""
        load = self.load

        async def limited_call(request: Message, context: Context) -> Any:
            if load.draining:
                raise Draining
            if load.calls >= load.calls_max:
                raise Overloaded
            load.calls += 1
            try:
                return await call(request, context)
            finally:
                load.calls -= 1

        return limited_call

    def timed(self, call: Call) -> Call:
        """Ends a call at its deadline, and does not begin one that has no time left."""
        longest = self.deadline_seconds_max

        async def timed_call(request: Message, context: Context) -> Any:
            remaining = context.time_remaining()
            seconds = longest if remaining is None else min(remaining, longest)
            limit = asyncio.timeout(seconds)
            try:
                async with limit:
                    return await call(request, context)
            except TimeoutError:
                if not limit.expired():
                    raise
            message = f"The call took longer than {seconds:.3f} s; send it again with the same IDs and more time."
            return await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, message)

        return timed_call

    def checked(self, call: Call) -> Call:
        """Refuses requests that break the rules of the contract."""
        check = self.validator.check

        async def checked_call(request: Message, context: Context) -> Any:
            check(request)
            return await call(request, context)

        return checked_call


def logged(method: str, call: Call) -> Call:
    """Writes a line a call, and gives all lines of the call its request ID."""

    async def logged_call(request: Message, context: Context) -> Any:
        request_id = _request_id(context)
        request_id_variable.set(request_id)
        structlog.contextvars.bind_contextvars(request_id=request_id, method=method)
        begun = time.perf_counter()
        code = "CANCELLED"
        try:
            answer = await call(request, context)
            code = "OK"
            return answer
        except grpc.aio.AbortError:
            code = context.code().name
            raise
        finally:
            milliseconds = round((time.perf_counter() - begun) * 1000, 3)
            log.info("call", code=code, duration_ms=milliseconds, peer=context.peer())

    return logged_call


def reported(call: Call) -> Call:
    """Answers errors: domain errors with their reason, all others as INTERNAL without a word of what they say."""

    async def reported_call(request: Message, context: Context) -> Any:
        try:
            return await call(request, context)
        except DomainError as error:
            status = to_status(error)
            code = code_of(error.reason)
            if code is grpc.StatusCode.INTERNAL:
                log.error("data corrupt", reason=error.reason, problem=error.message)
        except grpc.aio.AbortError:
            raise
        except Exception:
            log.exception("unexpected error")
            status = internal(request_id_variable.get())
            code = grpc.StatusCode.INTERNAL
        return await context.abort(code, status.message, ((_DETAILS_KEY, status.SerializeToString()),))

    return reported_call


def _request_id(context: Context) -> str:
    """The caller's request ID if it can be put into logs and headers as it is, else a new one."""
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID_KEY and isinstance(value, str):
            if 0 < len(value) <= _REQUEST_ID_LENGTH_MAX and value.isascii() and value.isprintable():
                return value
    return str(uuid7())
