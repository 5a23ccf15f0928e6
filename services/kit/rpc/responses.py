"""Answers that every client can read: gRPC's own limit is 4 MiB, and what is larger fails after its work is done."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from google.protobuf.message import Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

A = TypeVar("A", bound=Message)

#: How large the answer to a list or a batch may be.
RESPONSE_BYTES_MAX = 4_000_000
# What surrounds an item in a list: its tag and its length.
_FRAMING_BYTES = 6


def narrow_result(result: Message) -> None:
    """Leaves all out of the error of a result but its code, its message and its reason."""
    if not result.HasField("error"):
        return
    status: Status = result.error  # type: ignore[attr-defined] # as all results of batches have it
    info = error_details_pb2.ErrorInfo()
    if any(detail.Unpack(info) for detail in status.details):
        info.metadata.clear()
    del status.details[:]
    if info.reason:
        status.details.add().Pack(info)


def fit(
    answers: Sequence[A], narrow: Callable[[A], None] = narrow_result, bytes_max: int = RESPONSE_BYTES_MAX
) -> Sequence[A]:
    """Leaves things out of the largest answers of a batch until all of them fit.

    Args:
        answers: The answers. They are changed.
        narrow: Leaves out of an answer what its caller can do without.
        bytes_max: How large all of them may be.

    Returns:
        The same answers.
    """
    sizes = [one.ByteSize() + _FRAMING_BYTES for one in answers]
    size = sum(sizes)
    if size > bytes_max:
        for at in sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True):
            narrow(answers[at])
            size -= sizes[at] - answers[at].ByteSize() - _FRAMING_BYTES
            if size <= bytes_max:
                break
    return answers
