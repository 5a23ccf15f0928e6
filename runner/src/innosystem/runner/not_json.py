"""Where in a handler's return value something is not JSON, and what to return instead."""

import math
from typing import Any, Final

_SCALARS: Final = (str, int, float, bool, type(None))
_INSTEAD: Final = {
    "datetime": "return a text, such as its isoformat()",
    "date": "return a text, such as its isoformat()",
    "time": "return a text, such as its isoformat()",
    "timedelta": "return a number, such as its total_seconds()",
    "Decimal": "return a text, such as str(...) of it",
    "UUID": "return a text, such as str(...) of it",
    "PosixPath": "return a text, such as str(...) of it",
    "bytes": "return a text, such as base64.b64encode(...).decode()",
    "set": "return a list, such as sorted(...)",
    "frozenset": "return a list, such as sorted(...)",
    "coroutine": "`await` it",
}


def not_json(value: object) -> str | None:
    """Return what in a value is not JSON, such as `at .when: datetime is not JSON`, with advice; None if nothing is."""
    pending: list[tuple[str, Any]] = [("", value)]
    seen: set[int] = set()
    while pending:
        path, each = pending.pop()
        at = f"at {path}: " if path else ""
        if isinstance(each, float) and not math.isfinite(each):
            return f"{at}the number {each} is not JSON"
        if isinstance(each, _SCALARS) or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, dict):
            if (key := next((key for key in each if not isinstance(key, _SCALARS)), None)) is not None:
                return f"{at}a key of type {type(key).__name__} is not JSON: return texts as keys"
            pending += reversed([(f"{path}.{key}", inner) for key, inner in each.items()])
        elif isinstance(each, list | tuple):
            pending += reversed([(f"{path}[{place}]", inner) for place, inner in enumerate(each)])
        else:
            name = type(each).__name__
            instead = _INSTEAD.get(name, "return a dict, a list, a text, a number, a bool or None")
            return f"{at}{name} is not JSON: {instead}"
    return None
