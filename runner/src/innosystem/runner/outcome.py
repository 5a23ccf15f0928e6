"""What comes out of a run, and the JSON that goes in and out.

JSON is read and written by the standard library: integers keep every digit, whereas orjson turns
those beyond 64 bits into floats, and writes NaN as null.
"""

import json
import traceback
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from innosystem.runner.errors import JobError, Snooze

OUTPUT_BYTES_MAX: Final = 1024 * 1024
_TYPE_LENGTH_MAX: Final = 200
_MESSAGE_LENGTH_MAX: Final = 10_000
_TRACE_LENGTH_MAX: Final = 10_000

_encoder: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The handler returned. `output_json` is what it returned."""

    output_json: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The run failed.

    Attributes:
        type: The exception's class or the platform's word.
        message: What happened, for people.
        retryable: Whether another attempt may help.
        trace: The traceback, for the runner's log only.
        retry_after_seconds: How long to wait before the next attempt; None leaves it to the job type.
    """

    type: str
    message: str
    retryable: bool
    trace: str = ""
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Snoozed:
    """The handler asks to be run again after some seconds."""

    seconds: float


Outcome: TypeAlias = Succeeded | Failed | Snoozed


def parse_input(input_json: str) -> Any:
    """Parse a job's input; empty means null.

    Raises:
        JobError: It is not JSON.
    """
    if not input_json:
        return None
    try:
        return json.loads(input_json)
    except (ValueError, RecursionError) as exc:
        raise JobError(f"The input can't be parsed: {exc}", type="INVALID_INPUT_JSON", retryable=False) from exc


def succeeded(value: object) -> Succeeded | Failed:
    """Write what a handler returned as JSON. What is not JSON, or too large, fails the run."""
    try:
        text = _encoder.encode(value)
        length = len(text) if text.isascii() else len(text.encode())
    except (TypeError, ValueError, RecursionError) as exc:
        return failure("INVALID_OUTPUT_JSON", f"What the handler returned is not JSON: {_say(exc)}")
    if length > OUTPUT_BYTES_MAX:
        return failure(
            "OUTPUT_TOO_LARGE",
            f"What the handler returned has {length} bytes as JSON, more than {OUTPUT_BYTES_MAX}",
        )
    return Succeeded(text)


def raised(exc: BaseException) -> Failed | Snoozed:
    """Tell what comes of what a handler raised."""
    return Snoozed(exc.delay_seconds) if isinstance(exc, Snooze) else failed(exc)


def failed(exc: BaseException) -> Failed:
    """Describe an exception that fails the run."""
    if isinstance(exc, JobError):
        described = failure(exc.type, exc.message, retryable=exc.retryable, trace=_trace(exc))
        return replace(described, retry_after_seconds=exc.retry_after_seconds)
    return failure(type(exc).__name__, _say(exc), retryable=True, trace=_trace(exc))


def timed_out(seconds: float) -> Failed:
    """Say that a run took longer than it may."""
    return failure("TIMEOUT", f"The run took longer than {seconds:g} seconds", retryable=True)


def failure(type: str, message: str, *, retryable: bool = False, trace: str = "") -> Failed:
    """Make a failure whose texts can be sent and stored.

    Args:
        type: The exception's class or the platform's word.
        message: What happened, for people.
        retryable: Whether another attempt may help.
        trace: The traceback, for the log.
    """
    return Failed(_storable(type, _TYPE_LENGTH_MAX), _storable(message, _MESSAGE_LENGTH_MAX), retryable, trace)


def _say(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception as broken:  # noqa: BLE001 - a user's __str__ may raise anything
        return f"(its message can't be read: {type(broken).__name__})"


def _trace(exc: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(exc, limit=-20))[-_TRACE_LENGTH_MAX:]
    except Exception as broken:  # noqa: BLE001 - formatting calls the user's __str__
        return f"(the traceback can't be read: {type(broken).__name__})"


def _storable(text: object, length: int) -> str:
    """Cut a text, and replace what protobuf (lone surrogates) or PostgreSQL (NUL) would refuse."""
    cut = str(text)
    if len(cut) > length:
        cut = f"{cut[: length - 1]}…"
    return cut.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
