"""Look at every response that a test gets: each error is one that the contract promises, told as it promises."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from innosystem.client import InnosystemError, error_from, error_from_status
from tests.support.contract_texts import has_path, reasons_of

#: What says how long to wait, because the same request may be taken then.
WAITING_HELPS = frozenset(
    [
        "ROW_LOCKED",
        "CONCURRENT_UPDATE",
        "DATABASE_UNAVAILABLE",
        "DEPENDENCY_UNAVAILABLE",
        "RATE_LIMITED",
        "OVERLOADED",
        "DRAINING",
    ]
)
#: What says so only where the hold of the job is about to be released.
WAITING_MAY_HELP = frozenset({"JOB_NOT_RETRYABLE"})
#: Reasons that are no INVALID_ARGUMENT and nevertheless about fields.
ABOUT_FIELDS = frozenset({"EMAIL_TAKEN", "JOB_TYPE_NAME_TAKEN", "IDEMPOTENCY_KEY_REUSED"})
# What is as large may have left details out, to fit.
_LARGE_BYTES = 3_900_000


def promised(channel: grpc.Channel) -> grpc.Channel:
    """Return the channel, with a look at what comes back of every call that is waited for."""
    return grpc.intercept_channel(channel, _Looking())


class _Looking(grpc.UnaryUnaryClientInterceptor):
    def intercept_unary_unary(self, continuation: Callable[..., Any], client_call_details: Any, request: Any) -> Any:
        """Call, and look at what came back if that is there."""
        call = continuation(client_call_details, request)
        if call.done():
            self._look(client_call_details.method, request, call)
        return call

    def _look(self, method: str, request: Message, call: Any) -> None:
        failure = call.exception()
        if failure is None:
            response = call.result()
            for index, status in _items(response):
                error = error_from_status(status)
                _check(method, request, error, complete=response.ByteSize() < _LARGE_BYTES)
                assert all(f"[{index}]" in one.field for one in error.violations if not one.type), (
                    method,
                    index,
                    error,
                )
        elif isinstance(failure, grpc.RpcError) and (found := error_from(failure)) is not None:
            _check(method, request, found, complete=True)


def _items(response: Message) -> Iterator[tuple[int, Status]]:
    """The errors of the items of a batch."""
    for index, result in enumerate(getattr(response, "results", ())):
        if "error" in result.DESCRIPTOR.fields_by_name and result.HasField("error"):
            yield index, result.error


def _check(method: str, request: Any, error: InnosystemError, *, complete: bool) -> None:
    if not error.reason:
        # What nobody foresaw, of which callers are notified nothing.
        return
    told = f"{method}: {error}"
    assert error.reason in reasons_of(method), f"the comment of {method} does not name {error.reason}"
    assert error.message, told
    if not complete:
        return
    preconditions = [one for one in error.violations if one.type]
    faults = [one for one in error.violations if not one.type]
    if error.code is grpc.StatusCode.FAILED_PRECONDITION:
        assert [one.type for one in preconditions] == [error.reason], told
        assert re.fullmatch(r"([a-z_]+/[\w.-]+)+(/[a-z_]+/[\w.-]+)?", preconditions[0].field), told
    else:
        assert not preconditions, told
    about_fields = error.code is grpc.StatusCode.INVALID_ARGUMENT or error.reason in ABOUT_FIELDS
    assert bool(faults) == about_fields, told
    for fault in faults:
        assert fault.field == "request" or has_path(request.DESCRIPTOR, fault.field), told
    waits = error.retry_after_seconds is not None
    assert waits == (error.reason in WAITING_HELPS) or error.reason in WAITING_MAY_HELP, told
