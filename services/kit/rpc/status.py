"""Conversion of domain errors to `google.rpc.Status`, in this module only.

The contract defines the gRPC code of each reason, by an option on each value of `ErrorReason`.
"""

from collections.abc import Iterator
from functools import cache

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from innosystem.client import request_id
from innosystem.options.v1 import options_pb2
from innosystem.options.v1.error_reason_pb2 import ErrorReason
from services.kit.errors import DomainError, FieldViolation, Unforeseen

DOMAIN = "innosystem"

# gRPC peers refuse headers of more than 8 KiB in total. The status is sent as a header in base64, which takes 4/3 of
# its size; its message is sent once more beside it, percent-encoded, which takes up to three times its size.
STATUS_BYTES_MAX = 4096
_MESSAGE_BYTES_MAX = 600
_METADATA_BYTES_MAX = 1500
_TEXT_BYTES_MAX = 300
_VIOLATIONS_MAX = 20
_FRAMING_BYTES = 8

_CODES = {code.value[0]: code for code in grpc.StatusCode}


@cache
def code_of(reason: str) -> grpc.StatusCode:
    """Return the gRPC code of a reason in the contract.

    Raises:
        KeyError: If the contract lacks the reason.
    """
    value = ErrorReason.DESCRIPTOR.values_by_name[f"ERROR_REASON_{reason}"]
    return _CODES[value.GetOptions().Extensions[options_pb2.status]]


def to_status(error: DomainError) -> Status:
    """Return the error for callers: code, message, and details with the reason, metadata, and more for some codes.

    The status has at most `STATUS_BYTES_MAX`: long texts are cut, and of many violations only the first are included.
    """
    if isinstance(error, Unforeseen):
        return internal(request_id.get())
    code = code_of(error.reason)
    status = Status(code=code.value[0], message=_short(error.message, _MESSAGE_BYTES_MAX))
    for detail in _details(error, code):
        status.details.append(_packed(detail))
    if violations := error.at_fault():
        room = STATUS_BYTES_MAX - status.ByteSize()
        status.details.append(_packed(_bad_request(violations, room)))
    return status


def internal(of_request: str) -> Status:
    """Return the status for an unforeseen error: it hides the error, and has the request ID to find it in the log."""
    code: int = grpc.StatusCode.INTERNAL.value[0]
    status = Status(code=code, message="Something went wrong inside the service; see its log.")
    status.details.append(_packed(error_details_pb2.RequestInfo(request_id=of_request)))
    return status


def _details(error: DomainError, code: grpc.StatusCode) -> Iterator[Message]:
    metadata = _bounded(error.metadata)
    yield error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    if code is grpc.StatusCode.FAILED_PRECONDITION:
        violation = error_details_pb2.PreconditionFailure.Violation(
            type=error.reason,
            subject=_short(error.subject, _TEXT_BYTES_MAX),
            description=_short(error.message, _MESSAGE_BYTES_MAX),
        )
        yield error_details_pb2.PreconditionFailure(violations=[violation])
    if error.retry_after_seconds is not None:
        delay = Duration()
        delay.FromMilliseconds(round(error.retry_after_seconds * 1000))
        yield error_details_pb2.RetryInfo(retry_delay=delay)


def _bounded(metadata: dict[str, str]) -> dict[str, str]:
    """Return as many entries as fit, each cut to a length."""
    bounded: dict[str, str] = {}
    room = _METADATA_BYTES_MAX
    for key, value in metadata.items():
        text = _short(value, _TEXT_BYTES_MAX)
        room -= len(key) + len(text.encode()) + _FRAMING_BYTES
        if room < 0:
            break
        bounded[key] = text
    return bounded


def _bad_request(violations: tuple[FieldViolation, ...], room: int) -> error_details_pb2.BadRequest:
    """Return as many violations as fit."""
    bad_request = error_details_pb2.BadRequest()
    room -= _packed(bad_request).ByteSize() + _FRAMING_BYTES
    for one in violations[:_VIOLATIONS_MAX]:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=_short(one.field, _TEXT_BYTES_MAX), description=_short(one.description, _TEXT_BYTES_MAX)
        )
        room -= violation.ByteSize() + _FRAMING_BYTES
        if room < 0:
            break
        bad_request.field_violations.append(violation)
    return bad_request


def _packed(detail: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(detail)
    return packed


def _short(text: str, bytes_max: int) -> str:
    """Return the text, cut to a number of bytes in UTF-8; characters without an encoding in UTF-8 are replaced."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= bytes_max:
        return encoded.decode()
    ellipsis = "…"
    return encoded[: bytes_max - len(ellipsis.encode())].decode(errors="ignore") + ellipsis
