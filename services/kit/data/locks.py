"""How long a transaction waits for what others have locked, where many rows are locked at once."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy import text

from services.kit.errors import RowLocked

R = TypeVar("R")

#: Has the open transaction give up a lock that is not to be had in a moment.
HURRY = text("SET LOCAL lock_timeout = '20ms'")


async def waiting_briefly(work: Callable[[bool], Awaitable[R]]) -> R:
    """Does work that locks many rows.

    Args:
        work: Does it as one transaction: for True it waits for locks, for False it leaves out what is locked.

    Returns:
        What was done while waiting; if one of the rows was not to be had in time, what was done without it.
    """
    try:
        return await work(True)
    except RowLocked:
        return await work(False)
