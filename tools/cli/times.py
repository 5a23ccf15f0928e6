"""Durations and times on the command line: taken exactly as typed, or refused with what to type instead."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, TypeAlias

from cyclopts import Parameter

_UNITS: Final = (
    ("d", timedelta(days=1)),
    ("h", timedelta(hours=1)),
    ("m", timedelta(minutes=1)),
    ("s", timedelta(seconds=1)),
    ("ms", timedelta(milliseconds=1)),
)
_LENGTHS: Final = dict(_UNITS)
_PART: Final = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,6}))?(ms|[dhms])")
_DURATION: Final = re.compile(rf"(?:{_PART.pattern})+")
_FORM: Final = "such as 500ms, 30s, 5m, 24h, 7d or 1h30m"


def read_duration(text: str) -> timedelta:
    """Read a duration, such as `30s`, `5m`, `24h`, `7d`, `1h30m` or `1.5s`; 0 may lack the unit.

    Raises:
        ValueError: The text is no duration; the message shows the format.
    """
    if text == "0":
        return timedelta()
    if re.fullmatch(r"[0-9.]+", text):
        raise ValueError(f"{text!r} has no unit: type {text}s for seconds, {text}m for minutes, {text}h or {text}d")
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration, {_FORM}")
    total = timedelta()
    try:
        for whole, fraction, unit in _PART.findall(text):
            length, scale = _LENGTHS[unit], 10 ** len(fraction)
            part = int(fraction or 0) * length / scale
            if part * scale != int(fraction or 0) * length:
                raise ValueError(f"{text!r} is finer than a microsecond")
            total += int(whole) * length + part
    except OverflowError:
        raise ValueError(f"{text!r} is too long") from None
    return total


def show_duration(length: timedelta) -> str:
    """Format a duration exactly, as `read_duration` reads it, the largest unit first: `1d12h`, `1.5s`."""
    sign, rest = ("-", -length) if length < timedelta() else ("", length)
    if timedelta() < rest < timedelta(seconds=1):
        return f"{sign}{_number(rest, timedelta(milliseconds=1))}ms"
    parts = []
    for unit, one in _UNITS[:3]:
        count, rest = divmod(rest, one)
        if count:
            parts.append(f"{count}{unit}")
    if rest or not parts:
        parts.append(f"{_number(rest, timedelta(seconds=1))}s")
    return sign + "".join(parts)


def read_time(text: str, *, now: datetime | None = None) -> datetime:
    """Read a time with its zone, a date in UTC, or how long ago a time was.

    Args:
        text: `2026-01-31T12:00:00Z`, `2026-01-31` or, with `now`, `24h`.
        now: The time from which a duration counts back; None to refuse durations.

    Raises:
        ValueError: The text is none of these; the message shows the format.
    """
    if now is None and _DURATION.fullmatch(text):
        soon = datetime.now(UTC).replace(microsecond=0) + read_duration(text)
        raise ValueError(
            f"{text!r} would be another time whenever the command is repeated, and so another job: "
            f"type {_rfc_3339(soon)}"
        )
    if now is not None and _DURATION.fullmatch(text):
        try:
            return now - read_duration(text)
        except OverflowError:
            raise ValueError(f"{text!r} is too long ago") from None
    ago = ", or how long ago: 24h or 7d" if now is not None else ""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time, such as 2026-01-31T12:00:00Z or 2026-01-31{ago}") from None
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return found.replace(tzinfo=UTC)
    if found.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone: type {text}Z for UTC, or {text}+02:00")
    return found


def created_between(filter: str, since: datetime | None, until: datetime | None) -> str:
    """Limit an AIP-160 filter to what was created from one time on and before another."""
    parts = [f"({filter})"] if filter.strip() else []
    parts += [f'created_at >= "{_rfc_3339(since)}"'] if since else []
    parts += [f'created_at < "{_rfc_3339(until)}"'] if until else []
    return " AND ".join(parts) if since or until else filter


def _rfc_3339(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _number(length: timedelta, unit: timedelta) -> str:
    whole, rest = divmod(length, unit)
    micros = unit // timedelta(microseconds=1)
    fraction = f"{rest // timedelta(microseconds=1):0{len(str(micros)) - 1}d}".rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)


def _duration(type_: Any, tokens: Sequence[Any]) -> timedelta:
    return read_duration(tokens[0].value)


def _time(type_: Any, tokens: Sequence[Any]) -> datetime:
    return read_time(tokens[0].value)


def _past_time(type_: Any, tokens: Sequence[Any]) -> datetime:
    return read_time(tokens[0].value, now=datetime.now(UTC))


Duration: TypeAlias = Annotated[
    timedelta | None,
    Parameter(converter=_duration, accepts_keys=False, n_tokens=1, metavar="DURATION", show_default=False),
]
Time: TypeAlias = Annotated[
    datetime | None,
    Parameter(converter=_time, accepts_keys=False, n_tokens=1, metavar="TIME", show_default=False),
]
PastTime: TypeAlias = Annotated[
    datetime | None,
    Parameter(converter=_past_time, accepts_keys=False, n_tokens=1, metavar="TIME", show_default=False),
]
