"""The outcome of a run, and the JSON of its input and output.

The standard library reads and writes the JSON: integers keep every digit, whereas orjson turns integers beyond 64 bits
into floats, and writes NaN as null.
"""

import json
import re
import traceback
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import orjson

from innosystem.runner.errors import JobError, Snooze
from innosystem.runner.not_json import not_json

OUTPUT_BYTES_MAX: Final = 1024 * 1024
_TYPE_LENGTH_MAX: Final = 200
_MESSAGE_LENGTH_MAX: Final = 10_000
_TRACE_LENGTH_MAX: Final = 10_000

_LEVELS_MAX: Final = 1000
# An escaped NUL, and not an escaped backslash before the text "u0000".
_NUL: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")

_encoder: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Succeeded:
    """A handler that returned, with its output as JSON.

    Attributes:
        usage_units: What it has used; None if it has reported nothing. The runner sets it.
    """

    output_json: str
    usage_units: int | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """A run that failed.

    Attributes:
        type: The class of the exception, or a word of the platform.
        message: A description for people.
        retryable: Whether another attempt may help.
        trace: The traceback, for the runner's log only.
        retry_after_seconds: How long to wait before the next attempt; None for the job type's backoff.
        exception: What the handler has raised, for middleware; None if it ran in another process.
    """

    type: str
    message: str
    retryable: bool
    trace: str = ""
    retry_after_seconds: float | None = None
    exception: BaseException | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Snoozed:
    """A handler that asked to be run again after some seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class AwaitingCallback:
    """A job that its endpoint has accepted, and reports the result of later.

    Attributes:
        token: The callback token that the endpoint has got.
    """

    token: str = field(repr=False)


Outcome: TypeAlias = Succeeded | Failed | Snoozed | AwaitingCallback


def parse_input(input_json: str) -> Any:
    """Parse a job's input; empty means null.

    Raises:
        JobError: The input is not JSON.
    """
    if not input_json:
        return None
    try:
        return json.loads(input_json)
    except (ValueError, RecursionError) as exc:
        raise JobError(f"The input cannot be parsed: {exc}", type="INVALID_INPUT_JSON", retryable=False) from exc


def succeeded(value: object) -> Succeeded | Failed:
    """Encode a handler's return value as JSON. A value that is not JSON, or too large, fails the run."""
    try:
        text, length = to_json(value)
    except ValueError as exc:
        return failure("INVALID_OUTPUT_JSON", f"The handler's return value cannot be sent: {exc}")
    if length > OUTPUT_BYTES_MAX:
        return failure(
            "OUTPUT_TOO_LARGE",
            f"The handler's return value has {length} bytes as JSON, more than {OUTPUT_BYTES_MAX}",
        )
    if (fault := not_storable(text)) is not None:
        return failure("INVALID_OUTPUT_JSON", f"The handler's return value cannot be stored: {fault}")
    return Succeeded(text)


def to_json(value: object) -> tuple[str, int]:
    """Return a value as JSON text, and its length in bytes.

    Raises:
        ValueError: It is no JSON; says why.
    """
    try:
        text = _encoder.encode(value)
        return text, len(text) if text.isascii() else len(text.encode())
    except (TypeError, ValueError, RecursionError) as exc:
        raise ValueError(not_json(value) or _message(exc)) from exc


def not_storable(text: str) -> str | None:
    """Return why the platform would refuse a JSON text, or None: an author's test should see the same."""
    if "\\u0000" in text and _NUL.search(text):
        return "it holds the character NUL (\\u0000)"
    if text.count("[") + text.count("{") > _LEVELS_MAX:
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError as exc:
            return f"it is nested too deep: {exc}"
    return None


def raised(exc: BaseException) -> Failed | Snoozed:
    """Convert an exception of a handler to an outcome."""
    return Snoozed(exc.delay_seconds) if isinstance(exc, Snooze) else failed(exc)


def failed(exc: BaseException) -> Failed:
    """Convert an exception to a failed run."""
    if isinstance(exc, JobError):
        described = failure(exc.type, exc.message, retryable=exc.retryable, trace=_trace(exc))
        return replace(described, retry_after_seconds=exc.retry_after_seconds, exception=exc)
    described = failure(type(exc).__name__, _message(exc), retryable=True, trace=_trace(exc))
    return replace(described, exception=exc)


def timed_out(seconds: float) -> Failed:
    """Create the failure of a run that exceeded its time limit."""
    return failure("TIMEOUT", f"The run took longer than {seconds:g} s", retryable=True)


def failure(type: str, message: str, *, retryable: bool = False, trace: str = "") -> Failed:
    """Create a failure whose texts can be sent and stored.

    Args:
        type: The class of the exception, or a word of the platform.
        message: A description for people.
        retryable: Whether another attempt may help.
        trace: The traceback, for the log.
    """
    return Failed(_storable(type, _TYPE_LENGTH_MAX), _storable(message, _MESSAGE_LENGTH_MAX), retryable, trace)


def _message(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception as broken:  # noqa: BLE001 - a user's __str__ may raise anything
        return f"(the message cannot be read: {type(broken).__name__})"


def _trace(exc: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(exc, limit=-20))[-_TRACE_LENGTH_MAX:]
    except Exception as broken:  # noqa: BLE001 - formatting calls the user's __str__
        return f"(the traceback cannot be read: {type(broken).__name__})"


def _storable(text: object, length: int) -> str:
    """Truncate a text, and replace characters that protobuf (lone surrogates) or PostgreSQL (NUL) refuses."""
    cut = str(text)
    if len(cut) > length:
        cut = f"{cut[: length - 1]}…"
    return cut.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
