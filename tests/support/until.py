"""Polling for conditions that other tasks, threads and processes bring about."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")

LIMIT_SECONDS = 30.0
_POLL_SECONDS = 0.01


@overload
async def until(condition: Callable[[], Awaitable[T]], limit_seconds: float = ...) -> T: ...


@overload
async def until(condition: Callable[[], T], limit_seconds: float = ...) -> T: ...


async def until(condition: Callable[[], object], limit_seconds: float = LIMIT_SECONDS) -> object:
    """Poll until a condition holds, while other tasks run.

    Args:
        condition: A function or a coroutine function.
        limit_seconds: How long the condition may take, including a call that hangs.

    Returns:
        The first true value of the condition.

    Raises:
        AssertionError: The condition did not hold within the limit.
    """
    found: object = None
    limit = asyncio.timeout(limit_seconds)
    try:
        async with limit:
            while True:
                value = condition()
                found = await value if inspect.isawaitable(value) else value
                if found:
                    return found
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        if not limit.expired():
            raise
        raise AssertionError(_failure(condition, limit_seconds, found)) from None


def until_sync(
    condition: Callable[[], T], limit_seconds: float = LIMIT_SECONDS, *, context: Callable[[], object] | None = None
) -> T:
    """Poll until a condition holds, blocking this thread.

    Args:
        condition: What is polled.
        limit_seconds: How long the condition may take.
        context: Returns what the failure shows beside the condition, such as a log.

    Returns:
        The first true value of the condition.

    Raises:
        AssertionError: The condition did not hold within the limit.
    """
    deadline = time.monotonic() + limit_seconds
    while not (found := condition()):
        if time.monotonic() >= deadline:
            shown = f"\n{context()}" if context else ""
            raise AssertionError(_failure(condition, limit_seconds, found) + shown)
        time.sleep(_POLL_SECONDS)
    return found


def _failure(condition: Callable[[], object], limit_seconds: float, found: object) -> str:
    try:
        source = inspect.getsource(condition).strip()
    except (OSError, TypeError):  # a partial, or a method of a built-in type
        source = repr(condition)
    return f"not within {limit_seconds:g} s, last seen as {found!r}: {source}"
