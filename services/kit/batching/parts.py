"""Work for a batch, in ever smaller parts if it fails, until the bad item is alone: it fails no neighbour."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from services.kit.batching.bisection import bisected
from services.kit.errors import DataCorrupt, DomainError, Unforeseen

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[list[T]], Awaitable[Sequence[R | DomainError]]]

log = structlog.get_logger(__name__)

# Enough to isolate some bad items among a thousand, and an end if all of them are bad.
_TRIES_MAX = 64


async def in_parts(items: Sequence[T], work: "Work[T, R]") -> list[R | DomainError]:
    """Run work for items; an unforeseen exception becomes the error of the item that it belongs to.

    Args:
        items: The items.
        work: Returns the results of some items, in their order. It must be safe to repeat, and to run for some items
            after others.

    Returns:
        The results, in the order of the items.

    Raises:
        DomainError: If it concerns all items, as when the database is unavailable.
    """
    tries = 0

    async def tried(some: list[T]) -> Sequence[R | DomainError]:
        nonlocal tries
        tries += 1
        return await work(some)

    def failed(some: Sequence[T], error: Exception) -> list[R | DomainError] | None:
        if isinstance(error, DataCorrupt):
            return [error] if len(some) == 1 else None
        if isinstance(error, DomainError):
            raise error
        if len(some) == 1 or tries >= _TRIES_MAX:
            return [unforeseen(error, "work")] * len(some)
        return None

    return await bisected(items, tried, failed)


def unforeseen(error: Exception, place: str) -> Unforeseen:
    """Log an exception and return the error that callers receive in its place.

    Args:
        error: The exception.
        place: Where it was raised, for the log.
    """
    log.error("unexpected_error_in_batch", place=place, exc_info=error)
    return Unforeseen()


def single_result(result: R | DomainError) -> R:
    """Return the result of a batch of one item.

    Raises:
        DomainError: If the result is an error.
    """
    if isinstance(result, DomainError):
        raise result
    return result
