"""Lines of the logs of services and runners, as text for people."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

# What services and runners add to every line, and what the text shows in another place.
_NOT_SHOWN: Final = frozenset({"event", "level", "timestamp", "service", "logger", "exception", "request_id"})
_SERIOUS: Final = frozenset({"warning", "error", "critical"})
_VALUE_LENGTH_MAX: Final = 300


def parse(line: str) -> dict[str, Any] | None:
    """Return the fields of a line, or None for text that a program printed."""
    if not line.startswith("{"):
        return None
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) and isinstance(fields.get("event"), str) else None


def local_time(fields: dict[str, Any]) -> str:
    """Return the time of a line in the time zone of this machine, such as `15:04:05`; now, if the line has none."""
    try:
        then = datetime.fromisoformat(str(fields["timestamp"]))
    except (KeyError, ValueError):
        then = datetime.now().astimezone()
    return then.astimezone().strftime("%H:%M:%S")


def for_people(fields: dict[str, Any]) -> str:
    """Return a line as text: time, level, event, other fields, and the traceback below."""
    level = str(fields.get("level", "info"))
    shown = " ".join(f"{name}={_short(value)}" for name, value in fields.items() if name not in _NOT_SHOWN)
    text = f"{local_time(fields)} {level:<7} {fields['event']} {shown}".rstrip()
    trace = str(fields.get("exception", "")).rstrip("\n")
    return f"{text}\n{indented(trace.splitlines())}" if trace else text


def serious(lines: Iterable[str]) -> Sequence[str]:
    """Return the warnings and errors among lines of a log, and what was printed beside the log, such as tracebacks."""
    found = []
    for line in lines:
        fields = parse(line)
        if fields is None:
            found.append(line)
        elif fields.get("level") in _SERIOUS:
            found += for_people(fields).splitlines()
    return found


def indented(lines: Iterable[str]) -> str:
    """Return lines as a text in which each is indented."""
    return "\n".join(f"  {line}" for line in lines)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _VALUE_LENGTH_MAX else f"{text[: _VALUE_LENGTH_MAX - 1]}…"
