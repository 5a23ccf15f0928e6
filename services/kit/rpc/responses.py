"""Responses of a size that every client can read: gRPC's limit is 4 MiB, and a larger response fails after its work."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from google.protobuf.message import Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

A = TypeVar("A", bound=Message)

#: The maximum size of the response to a list or a batch.
RESPONSE_BYTES_MAX = 4_000_000
# The overhead of an item in a list: its tag and its length.
_FRAMING_BYTES = 6


def narrow_result(result: Message) -> None:
    """Reduce the error of a result to its code, its message and its reason."""
    if not result.HasField("error"):
        return
    status: Status = result.error  # type: ignore[attr-defined] # all results of batches have it
    info = error_details_pb2.ErrorInfo()
    if any(detail.Unpack(info) for detail in status.details):
        info.metadata.clear()
    del status.details[:]
    if info.reason:
        status.details.add().Pack(info)


def fit(
    results: Sequence[A], narrow: Callable[[A], None] = narrow_result, bytes_max: int = RESPONSE_BYTES_MAX
) -> Sequence[A]:
    """Narrow the largest results of a batch until all of them fit.

    Args:
        results: The results, which are changed.
        narrow: Removes optional parts of a result.
        bytes_max: The maximum size of all results together.

    Returns:
        The same results.
    """
    sizes = [one.ByteSize() + _FRAMING_BYTES for one in results]
    size = sum(sizes)
    if size > bytes_max:
        for at in sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True):
            narrow(results[at])
            size -= sizes[at] - results[at].ByteSize() - _FRAMING_BYTES
            if size <= bytes_max:
                break
    return results
