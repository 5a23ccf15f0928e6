"""The steps of a start, shown on standard error as they are done."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import count
from typing import Final, TextIO, TypeAlias

_NAME_WIDTH: Final = 12
_STILL_SECONDS: Final = 5.0

ShowStep: TypeAlias = Callable[[str, str], AbstractContextManager[None]]
"""Shows a step for the time of a block: its name, and what it waits for if it takes long."""


def no_steps(name: str, waits_for: str) -> AbstractContextManager[None]:
    """Show nothing."""
    return nullcontext()


class Steps:
    """Show steps, each on a line with its seconds. A step that takes long tells what it waits for.

    Use it in an event loop that the steps do not block.

    Args:
        stream: Where to show them; by default standard error.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()

    @contextmanager
    def __call__(self, name: str, waits_for: str) -> Iterator[None]:
        """Show a step for the time of a block.

        Args:
            name: The name of the step, such as `PostgreSQL`.
            waits_for: What it waits for, and where to read more, such as `for Redis to respond`.
        """
        began = time.perf_counter()
        if self._is_terminal:
            self._line(name, "...", ends=False)
        waiting = asyncio.create_task(self._still_waiting(name, waits_for))
        try:
            yield
        except BaseException as error:
            stopped = isinstance(error, asyncio.CancelledError)
            self._line(name, "stopped" if stopped else f"failed after {time.perf_counter() - began:.1f} s", ends=True)
            raise
        finally:
            waiting.cancel()
        self._line(name, f"{time.perf_counter() - began:5.1f} s", ends=True)

    async def _still_waiting(self, name: str, waits_for: str) -> None:
        for waits in count(1):
            await asyncio.sleep(_STILL_SECONDS)
            self._line(name, f"waits {waits_for} ({waits * _STILL_SECONDS:.0f} s)", ends=True)

    def _line(self, name: str, text: str, *, ends: bool) -> None:
        # On a terminal the end of a step replaces its beginning.
        start = "\r\033[K" if self._is_terminal else ""
        self._stream.write(f"{start}{name:<{_NAME_WIDTH}} {text}" + ("\n" if ends else ""))
        self._stream.flush()
