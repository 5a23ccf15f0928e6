"""JSON text as indented lines."""

import re
from typing import Final

_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_STEP: Final = "  "


def indented(text: str) -> str:
    """Return JSON text as indented lines.

    Its parts stay as they are written: a number that is read and written again may be another one.
    """
    parts: list[str] = []
    depth = 0
    before = ""
    for part in _TOKEN.findall(text):
        if part in ("}", "]"):
            depth -= 1
            if before not in ("{", "["):
                parts.append("\n" + _STEP * depth)
        elif before in ("{", "[", ","):
            parts.append("\n" + _STEP * depth)
        parts.append(f"{part} " if part == ":" else part)
        depth += part in ("{", "[")
        before = part
    return "".join(parts)
