"""Sends requests as they are, and says what is wrong with a response."""

import asyncio
import re
from collections.abc import Awaitable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from grpc import aio

from innosystem.options.v1 import error_reason_pb2, options_pb2
from tests.fuzz.support.requests import Request

T = TypeVar("T")

Identity = tuple[str, str]
"""The name of a field, and the ID in it."""

OWNED = ("customer_id", "wallet_id", "transaction_id", "hold_id", "job_id", "api_key_id")
"""What has such an ID belongs to one customer for ever."""

_OWN_ID = {name.removesuffix("_id").title().replace("_", ""): name for name in OWNED}
_LEDGER = {"Hold", "Transaction"}
_NOTED = {"job_id", "hold_id", "transaction_id"}

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# How long a stream is read.
_STREAM_SECONDS = 0.15
_ACCIDENTS = {"INTERNAL", "UNKNOWN", "DATA_LOSS"}
# gRPC refuses these itself, before a service sees them, and knows no reasons.
_OF_GRPC = {
    "RESOURCE_EXHAUSTED": ("larger than max", "metadata size exceeds"),
    "UNIMPLEMENTED": ("Method not found",),
}
_PREFIX = "ERROR_REASON_"
_DOMAIN = "innosystem"
_REASONS = {
    value.name.removeprefix(_PREFIX): value.GetOptions().Extensions[options_pb2.status]
    for value in error_reason_pb2.ErrorReason.DESCRIPTOR.values
}


@dataclass(frozen=True)
class Response:
    """What came back.

    Attributes:
        code: The status.
        reason: Why; empty with OK, and where gRPC itself has responded.
        complaints: What is wrong with it.
    """

    code: str
    reason: str = ""
    complaints: tuple[str, ...] = ()


async def send(channel: aio.Channel, request: Request, foreign: Collection[Identity] = ()) -> Response:
    """Send a request and judge what comes back.

    Args:
        channel: Where it is sent.
        request: What is sent.
        foreign: IDs that a caller who is bound to a customer must not learn.
    """
    try:
        raw = await _call(channel, request)
    except aio.AioRpcError as error:
        return _judged(request, error, foreign)
    except asyncio.CancelledError:
        if request.manner != "leaving":
            raise
        return Response("CANCELLED")
    return Response("OK", complaints=tuple(complaints(request, raw, foreign)))


def complaints(request: Request, responses: Sequence[bytes], foreign: Collection[Identity]) -> Iterator[str]:
    """Return what is wrong with responses.

    Args:
        request: What was sent.
        responses: The messages that came back; none of a stream that was left.
        foreign: IDs that a caller who is bound to a customer must not learn.
    """
    if responses and not request.caller.may_call(request.method):
        yield f"{request.caller.name} must not call this"
    for body in responses:
        yield from _items(request, body, foreign)


async def _call(channel: Any, request: Request) -> list[bytes]:
    """Return the responses."""
    method, path = request.method, request.method.path
    timeout = request.seconds if request.manner == "hurried" else 30.0
    options: dict[str, Any] = {"timeout": timeout, "metadata": aio.Metadata(*request.metadata)}
    if request.compressed:
        options["compression"] = grpc.Compression.Gzip
    if method.takes_stream:
        return await _read(channel.stream_stream(path)(iter([request.body]), **options), request)
    if method.streams:
        return await _read(channel.unary_stream(path)(request.body, **options), request)
    call = channel.unary_unary(path)(request.body, **options)
    return [await _unless_left(call, call, request.seconds if request.manner == "leaving" else None)]


async def _read(call: Any, request: Request) -> list[bytes]:
    """Return what a stream has given until it ended, or was read long enough."""
    found: list[bytes] = []

    async def read() -> None:
        async for one in call:
            found.append(one)  # noqa: PERF401 - what has arrived counts when the stream is left

    with suppress(asyncio.CancelledError):
        await _unless_left(call, read(), min(request.seconds, _STREAM_SECONDS))
    return found


async def _unless_left(call: Any, response: Awaitable[T], seconds: float | None) -> T:
    """Wait for a response, and cancel the call if it takes longer: then it is a `CancelledError`."""

    async def wait() -> T:
        return await response

    waiting = asyncio.create_task(wait())
    await asyncio.wait([waiting], timeout=seconds)
    if not waiting.done():
        call.cancel()
        await asyncio.wait([waiting])
    return waiting.result()


def _judged(request: Request, error: aio.AioRpcError, foreign: Collection[Identity]) -> Response:
    code, details = error.code().name, error.details() or ""
    if "Internal error from Core" in details and (request.manner != "patient" or request.method.takes_stream):
        # Of the client, which could not send the request because the deadline had passed, or because the server had
        # refused the stream already: it does so before it reads, and reflection is for operators.
        return Response("DEADLINE_EXCEEDED" if request.manner != "patient" else "PERMISSION_DENIED")
    if code in _ACCIDENTS:
        return Response(code, complaints=(f"{code}: {details[:500]}",))
    if (code == "CANCELLED" and request.manner == "leaving") or (
        code == "DEADLINE_EXCEEDED" and request.manner == "hurried"
    ):
        return Response(code)
    if "GOAWAY received" in details and (request.is_beyond_metadata or request.sort == "huge"):
        # A connection that has reached its age does not wait for the refusal of what is too large.
        return Response(code)
    if any(text in details for text in _OF_GRPC.get(code, ())) or (request.method.standard and code != "UNAVAILABLE"):
        return Response(code)
    found: list[str] = []
    status = Status()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            status = Status.FromString(value)
    reason = _reason(status)
    if reason not in _REASONS:
        found.append(f"{code} without a reason of the contract: {reason!r} {details[:500]}")
    elif code == "UNAVAILABLE" and not _awaits_runner(request, reason):
        found.append(f"UNAVAILABLE while everything runs: {reason} {details[:500]}")
    elif status.code != error.code().value[0] or _REASONS[reason] != status.code:
        found.append(f"{code} has the reason {reason}, whose status is {_REASONS[reason]}")
    found += _told(request, f"{details} {status}", foreign)
    return Response(code, reason, tuple(found))


def _items(request: Request, body: bytes, foreign: Collection[Identity]) -> Iterator[str]:
    """What is wrong with the items of a response."""
    if request.method.response is None:
        yield "a method that does not exist has responded"
        return
    response = request.method.response.FromString(body)
    if request.caller.customer_id:
        yield from (
            f"{request.caller.name} got {name} {value} of another customer"
            for name, value in _ids(response)
            if (name, value) in foreign or (name == "customer_id" and value not in ("", request.caller.customer_id))
        )
    for status in _statuses(response):
        reason = _reason(status)
        yield from _told(request, str(status), foreign)
        if reason not in _REASONS:
            yield f"an item failed without a reason of the contract: {str(status)[:500]}"
        elif _REASONS[reason] != status.code or status.code in (
            grpc.StatusCode.INTERNAL.value[0],
            grpc.StatusCode.UNKNOWN.value[0],
        ):
            yield f"an item failed with {status.code} and {reason}"


def _told(request: Request, text: str, foreign: Collection[Identity]) -> list[str]:
    """What an error tells of others, besides what the request names itself."""
    if not request.caller.customer_id:
        return []
    named = request.body.lower()
    found = {one for one in _UUID.findall(text) if _exists(one, foreign) and one.encode() not in named}
    return [f"{request.caller.name} got {one} of another customer in an error" for one in sorted(found)]


def _exists(value: str, foreign: Collection[Identity]) -> bool:
    return any((name, value) in foreign for name in OWNED)


def _ids(response: Message) -> Iterator[tuple[str, str]]:
    """The texts of a response with the names of their fields, without those of errors.

    The ID of a job is called `job_id` here, and so on: random requests give job types the IDs of jobs. What an operator
    has put down as the job of a hold or a charge is left out, for it may be any.
    """
    kind = response.DESCRIPTOR.name
    for descriptor, value in response.ListFields():
        if descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry:
            continue
        for one in value if descriptor.is_repeated else (value,):
            if isinstance(one, str) and not (kind in _LEDGER and descriptor.name in _NOTED):
                yield _OWN_ID.get(kind, "id") if descriptor.name == "id" else descriptor.name, one
            elif isinstance(one, Message) and not isinstance(one, Status):
                yield from _ids(one)


def _statuses(response: Message) -> Iterator[Status]:
    for descriptor, value in response.ListFields():
        if descriptor.message_type is None or descriptor.message_type.GetOptions().map_entry:
            continue
        for one in value if descriptor.is_repeated else (value,):
            if isinstance(one, Status):
                yield one
            elif isinstance(one, Message):
                yield from _statuses(one)


def _awaits_runner(request: Request, reason: str) -> bool:
    """Whether a result came while its job had no runner, after a ReturnJobs: the next claim makes it acceptable."""
    return request.method.name == "CompleteWebhookJob" and reason == "DEPENDENCY_UNAVAILABLE"


def _reason(status: Status) -> str:
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.domain == _DOMAIN:
            return info.reason
    return ""
