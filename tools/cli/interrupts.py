"""Ctrl-C while a command waits for a person."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end a call that blocks, such as reading what a person types, with KeyboardInterrupt.

    In a coroutine, Ctrl-C only cancels the task, which the call would notice when it has returned: too late.
    """
    with _on_interrupt(signal.default_int_handler):
        if _is_cancelled():
            # Ctrl-C came just before.
            raise KeyboardInterrupt
        yield


@contextmanager
def left_to_the_child() -> Iterator[None]:
    """Leave Ctrl-C to another program on this terminal, such as an editor, for which it may mean something else."""
    # Not SIG_IGN, which the program would inherit.
    with _on_interrupt(lambda number, frame: None):
        yield


@contextmanager
def _on_interrupt(handler: Any) -> Iterator[None]:
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _is_cancelled() -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:
        # No event loop runs.
        return False
    return task is not None and task.cancelling() > 0
