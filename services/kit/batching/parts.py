"""Work for a batch, in ever smaller parts if it fails, until what is at fault is alone: it fails no neighbour."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import structlog

from services.kit.errors import DataCorrupt, DomainError, Unforeseen

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[list[T]], Awaitable[Sequence[R | DomainError]]]

log = structlog.get_logger(__name__)

# How often a batch is tried in parts: enough for some bad items among a thousand, and an end if all are.
_TRIES_MAX = 64


async def in_parts(items: Sequence[T], work: "Work[T, R]") -> list[R | DomainError]:
    """Does work for items; an exception that nobody foresaw becomes the error of the item that it belongs to.

    Args:
        items: The items.
        work: Answers the results for some items, in their order. It must be safe to do it again, and that its items
            are done one after the other.

    Returns:
        The results, in the order of the items.

    Raises:
        DomainError: If it concerns all of them, as when the database is away.
    """
    return await _Divided(work).done(list(items)) if items else []


def unforeseen(error: Exception, place: str) -> Unforeseen:
    """Logs an exception and answers what callers see of it.

    Args:
        error: The exception.
        place: Where it happened, for the log.
    """
    log.error("unexpected error in a batch", place=place, exc_info=error)
    return Unforeseen()


def one(result: R | DomainError) -> R:
    """Return the result of a batch of one.

    Raises:
        DomainError: If the result is an error.
    """
    if isinstance(result, DomainError):
        raise result
    return result


class _Divided(Generic[T, R]):
    def __init__(self, work: "Work[T, R]") -> None:
        self._work = work
        self._tries = 0

    async def done(self, items: list[T]) -> list[R | DomainError]:
        self._tries += 1
        try:
            return list(await self._work(items))
        except DataCorrupt as error:
            if len(items) == 1:
                return [error]
        except DomainError:
            raise
        except Exception as error:  # noqa: BLE001 - it is logged where it is alone
            if len(items) == 1 or self._tries >= _TRIES_MAX:
                return [unforeseen(error, "work")] * len(items)
        middle = len(items) // 2
        return [*await self.done(items[:middle]), *await self.done(items[middle:])]
