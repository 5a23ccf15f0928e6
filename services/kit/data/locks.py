"""Limits of how long a transaction that locks many rows waits for rows that others have locked."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.kit.errors import RowLocked

R = TypeVar("R")


async def waiting_briefly(work: Callable[[bool], Awaitable[R]]) -> R:
    """Run work that locks many rows; if a lock takes too long, run it again without the locked rows.

    Args:
        work: Runs as one transaction: with True it waits for locks, with False it skips locked rows.

    Returns:
        What the work returned: without the locked rows if one of them was not unlocked in time.
    """
    try:
        return await work(True)
    except RowLocked:
        return await work(False)
