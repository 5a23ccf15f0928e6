"""What a handler says during its run: how far it is, and a checkpoint for the next run."""

import asyncio
from collections.abc import Awaitable, Generator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, Protocol

from typing_extensions import override

from innosystem.runner.errors import CheckpointError
from innosystem.runner.outcome import not_storable, to_json

CHECKPOINT_BYTES_MAX: Final = 256 * 1024
_MESSAGE_LENGTH_MAX: Final = 500
# Longer than the runner tries to have a checkpoint stored.
_WAIT_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        percent: From 0 to 100.
        message: What the handler does, at most 500 characters.
    """

    percent: float
    message: str


class Listener(Protocol):
    """Takes what one handler says, from any thread."""

    def progress(self, progress: Progress) -> None:
        """Note how far the run is. It may be left out if the handler says more soon."""

    def checkpoint(self, text: str) -> "Future[None]":
        """Have a checkpoint stored, JSON text. The result is there when it is stored, else a CheckpointError."""


def progress_of(percent: float, message: str) -> Progress:
    """Return a progress that can be stored.

    Raises:
        ValueError: The percentage is not between 0 and 100.
    """
    if not 0 <= percent <= 100:  # noqa: PLR2004 - percent
        raise ValueError(f"a progress is between 0 and 100 percent, and not {percent}")
    text = str(message)[:_MESSAGE_LENGTH_MAX].encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    return Progress(float(percent), text)


def checkpoint_of(data: Any) -> str:
    """Return a checkpoint as JSON text.

    Raises:
        CheckpointError: The data is no JSON, or too large; not retryable.
    """
    try:
        text, length = to_json(data)
    except ValueError as exc:
        raise CheckpointError(f"The checkpoint cannot be sent: {exc}", retryable=False) from exc
    if length > CHECKPOINT_BYTES_MAX:
        raise CheckpointError(
            f"The checkpoint has {length} bytes as JSON, more than {CHECKPOINT_BYTES_MAX}: store the data elsewhere, "
            "and its address in the checkpoint",
            retryable=False,
        )
    if (fault := not_storable(text)) is not None:
        raise CheckpointError(f"The checkpoint cannot be stored: {fault}", retryable=False)
    return text


class _Stored(Awaitable[None]):
    """Something that is done already, for functions that are awaited by some callers only."""

    @override
    def __await__(self) -> Generator[Any, Any, None]:
        yield from ()


def stored(waiting: "Future[None]") -> Awaitable[None]:
    """Wait until a checkpoint is stored: here in a thread, or else in the `await` of the caller.

    Raises:
        CheckpointError: It is not stored.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        try:
            waiting.result(_WAIT_SECONDS)
        except TimeoutError:
            raise CheckpointError("The checkpoint was not stored in time") from None
        return _Stored()
    return asyncio.wrap_future(waiting)


def failed_checkpoint(message: str, *, retryable: bool = True) -> "Future[None]":
    """Return the result of a checkpoint that is not stored."""
    failed: Future[None] = Future()
    failed.set_exception(CheckpointError(message, retryable=retryable))
    return failed
