"""Work for a batch, in halves where it fails: the one bisection that all batches share."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def bisected(
    items: Sequence[T],
    work: Callable[[list[T]], Awaitable[Sequence[R]]],
    failed: Callable[[Sequence[T], Exception], Sequence[R] | None],
) -> list[R]:
    """Do work for a batch, and where it fails for each half, until the culprits are alone.

    Args:
        items: The batch.
        work: Returns the results of some of the items, in their order. It must be safe to repeat, and its items
            independent of each other.
        failed: Decides on a failure of some of the items: returns their results, raises, or returns None to divide
            them. A single item cannot be divided: for it `failed` returns a result or raises.

    Returns:
        The results, in the order of the items.

    Raises:
        Exception: What `failed` raises.
    """
    results: list[R] = []
    waiting = [list(items)] if items else []
    while waiting:
        some = waiting.pop()
        try:
            results += await work(some)
        except Exception as error:  # noqa: BLE001 - `failed` decides, and raises what is to be raised
            outcome = failed(some, error)
            if outcome is None:
                middle = len(some) // 2
                waiting += [some[middle:], some[:middle]]
            else:
                results += outcome
    return results
