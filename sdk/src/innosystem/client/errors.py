"""Read the details of an error, which gRPC carries as a `google.rpc.Status` in binary metadata."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

DOMAIN: Final = "innosystem"
_DETAILS_KEY: Final = "grpc-status-details-bin"
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
#: Statuses of a service that has judged a request and refuses it: the same request would be refused again. Any other
#: status is about the call, the caller or the server, and may pass.
REFUSAL_CODES: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
    }
)


@dataclass(frozen=True)
class Violation:
    """A violation of a rule for a field of a request, or of a precondition on state.

    Attributes:
        field: The path of the field (`requests[3].job_id`), or the subject whose state is wrong.
        description: The problem.
        type: The violated rule (`string.uuid`), or the kind of the precondition. May be empty.
    """

    field: str
    description: str
    type: str = ""


@dataclass(eq=False)
class InnosystemError(Exception):
    """A call, or an item of a batch, that was refused or failed.

    Attributes:
        code: The gRPC status.
        message: A description for people.
        reason: The name of the contract's `ErrorReason` without its prefix (`INSUFFICIENT_FUNDS`).
            Empty if none was sent.
        metadata: The variable details, as documented by the `ErrorReason`.
        violations: The fields, or preconditions, at fault.
        retry_after_seconds: How long to wait before a retry; None if the server did not suggest one.
    """

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    retry_after_seconds: float | None = None

    def __str__(self) -> str:
        """Return a summary in one line. Violations that the message already describes are not repeated."""
        label = self.reason or self.code.name
        faults = "; ".join(filter(None, map(self._beside_message, self.violations)))
        return f"{label}: {self.message}" + (f" ({faults})" if faults else "")

    def _beside_message(self, fault: Violation) -> str:
        """Return what the message lacks of a violation: all of it, its place in a batch, or nothing."""
        # Servers cut a long description, which then ends with an ellipsis.
        if fault.description.removesuffix("…") not in self.message:
            return f"{fault.field}: {fault.description}"
        return fault.field if "[" in fault.field and fault.field not in self.message else ""


def error_from(exc: grpc.RpcError) -> InnosystemError | None:
    """Read the details of a failed call.

    Args:
        exc: The exception of a stub, either of grpc.aio or of the blocking grpc.

    Returns:
        The error, or None if the failure carries no details: it then comes from gRPC itself or from a
        proxy (no connection, deadline exceeded), and `exc.code()` is the only information.
    """
    read = getattr(exc, "trailing_metadata", None)
    entries: Iterable[tuple[str, str | bytes]] = (read() if read else None) or ()
    for key, value in entries:
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return error_from_status(status_pb2.Status.FromString(value))
            except DecodeError:
                # Not from this platform. The gRPC error, which the caller still has, is all there is.
                return None
    return None


def error_from_status(status: status_pb2.Status) -> InnosystemError:
    """Read a status, such as that of a failed item of a batch.

    Args:
        status: A status that is not OK.

    Returns:
        The error, to be raised or inspected.
    """
    error = InnosystemError(code=_CODES.get(status.code, grpc.StatusCode.UNKNOWN), message=status.message)
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        retry = error_details_pb2.RetryInfo()
        bad_request = error_details_pb2.BadRequest()
        precondition = error_details_pb2.PreconditionFailure()
        if detail.Unpack(info):
            if info.domain == DOMAIN:
                error.reason, error.metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(retry):
            error.retry_after_seconds = retry.retry_delay.ToNanoseconds() / 1e9
        elif detail.Unpack(bad_request):
            error.violations += [
                Violation(fault.field, fault.description, fault.reason) for fault in bad_request.field_violations
            ]
        elif detail.Unpack(precondition):
            error.violations += [
                Violation(fault.subject, fault.description, fault.type) for fault in precondition.violations
            ]
    return error
