"""Answers that every client can read: gRPC's own limit is 4 MiB, and what is larger fails after its work is done."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from google.protobuf.message import Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from services.kit.query.listing import Lists
from services.kit.query.page import ListQuery, Page

T = TypeVar("T")
A = TypeVar("A", bound=Message)

#: How large the answer to a list or a batch may be.
ANSWER_BYTES_MAX = 4_000_000
# What surrounds an item in a list: its tag and its length.
_FRAMING_BYTES = 6


def page_that_fits(
    lists: Lists, query: ListQuery, page: Page[T], message: Callable[[T], A], bytes_max: int = ANSWER_BYTES_MAX
) -> tuple[list[A], str]:
    """Makes the messages of a page, as many as fit into an answer, at least one.

    Args:
        lists: Of which the page is one.
        query: What was asked for.
        page: What was found.
        message: Makes the message of an entity.
        bytes_max: How large all of them may be.

    Returns:
        The messages, and the token of the next page; empty if there is none.
    """
    messages: list[A] = []
    size = 0
    for item in page.items:
        made = message(item)
        size += made.ByteSize() + _FRAMING_BYTES
        if size > bytes_max and messages:
            kept = len(messages)
            page = Page.cut(page.items[: kept + 1], replace(query, page_size=kept))
            break
        messages.append(made)
    return messages, lists.next_page_token(query, page)


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
    answers: Sequence[A], narrow: Callable[[A], None] = narrow_result, bytes_max: int = ANSWER_BYTES_MAX
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
