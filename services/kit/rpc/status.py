"""Domain errors as `google.rpc.Status`: the one place where they meet gRPC.

Which gRPC code a reason has is said in the contract, by an option on each value of `ErrorReason`.
"""

from functools import cache

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2
from google.rpc.status_pb2 import Status

from innosystem.options.v1 import options_pb2
from innosystem.options.v1.error_reason_pb2 import ErrorReason
from services.kit.errors import DomainError, FieldViolation

DOMAIN = "innosystem"
# gRPC refuses headers of more than 8 KiB, and the details travel in one.
_VIOLATIONS_MAX = 20
_TEXT_MAX = 1000

CODES = {code.value[0]: code for code in grpc.StatusCode}


@cache
def code_of(reason: str) -> grpc.StatusCode:
    """The gRPC code that the contract gives a reason.

    Raises:
        KeyError: If the contract does not know the reason.
    """
    value = ErrorReason.DESCRIPTOR.values_by_name[f"ERROR_REASON_{reason}"]
    return CODES[value.GetOptions().Extensions[options_pb2.status]]


def to_status(error: DomainError) -> Status:
    """The error as callers get it: code, message, and details with reason, metadata, and what else fits its code."""
    code = code_of(error.reason)
    status = Status(code=code.value[0], message=_short(error.message))
    for detail in _details(error, code):
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def internal(request_id: str) -> Status:
    """What callers get for an error that nobody foresaw: nothing of the error itself, and where to look for it."""
    info = error_details_pb2.RequestInfo(request_id=request_id)
    status = Status(code=code_pb2.INTERNAL, message="Something went wrong inside the service; see its log.")
    packed = AnyMessage()
    packed.Pack(info)
    status.details.append(packed)
    return status


def _details(error: DomainError, code: grpc.StatusCode) -> list[Message]:
    metadata = {key: _short(value) for key, value in error.metadata.items()}
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    ]
    violations: tuple[FieldViolation, ...] = getattr(error, "violations", ())
    if violations:
        details.append(_bad_request(violations))
    if code is grpc.StatusCode.FAILED_PRECONDITION:
        violation = error_details_pb2.PreconditionFailure.Violation(
            type=error.reason, subject=next(iter(metadata.values()), ""), description=_short(error.message)
        )
        details.append(error_details_pb2.PreconditionFailure(violations=[violation]))
    if error.retry_after_seconds is not None:
        delay = Duration()
        delay.FromMilliseconds(round(error.retry_after_seconds * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return details


def _bad_request(violations: tuple[FieldViolation, ...]) -> error_details_pb2.BadRequest:
    return error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(field=_short(one.field), description=_short(one.description))
            for one in violations[:_VIOLATIONS_MAX]
        ]
    )


def _short(text: str) -> str:
    return text if len(text) <= _TEXT_MAX else text[: _TEXT_MAX - 1] + "…"
