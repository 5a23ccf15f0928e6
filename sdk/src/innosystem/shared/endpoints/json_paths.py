"""Paths to one value of a JSON document: the singular queries of RFC 9535 (JSONPath).

`$.order.items[0]['unit price']`. Queries for many values (wildcards, filters, slices) are left out: the value of a
placeholder is one value, and filters have regular expressions, which a hostile document can make slow.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Self

_LENGTH_MAX: Final = 1000
_NAME: Final = "A-Za-z_\u0080-\ud7ff\ue000-\U0010ffff"
_SEGMENT: Final = re.compile(
    rf"""\.(?P<name>[{_NAME}][{_NAME}0-9]*)
    |\[(?P<index>0|-?[1-9][0-9]{{0,8}})\]
    |\[(?P<quoted>'(?:[^'\\\x00-\x1f]|\\.)*'|"(?:[^"\\\x00-\x1f]|\\.)*")\]""",
    re.VERBOSE,
)


class Missing(Exception):
    """A document has no value at a path."""


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A path to one value.

    Attributes:
        text: The path as it was written.
        segments: The names of members and the indices of elements; negative ones count from the end.
    """

    text: str
    segments: tuple[str | int, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a path.

        Raises:
            ValueError: It is no path to one value.
        """
        if not text.startswith("$") or len(text) > _LENGTH_MAX:
            raise ValueError(f"{text!r} is no path such as $.order.items[0]")
        segments: list[str | int] = []
        at = 1
        while at < len(text):
            found = _SEGMENT.match(text, at)
            if found is None:
                raise ValueError(f"{text!r} is no path to one value, such as $.order.items[0]: see {text[at:]!r}")
            segments.append(_segment(found))
            at = found.end()
        return cls(text, tuple(segments))

    def find(self, document: Any) -> Any:
        """Return the value at the path.

        Raises:
            Missing: There is none.
        """
        value = document
        for segment in self.segments:
            if isinstance(segment, str):
                if not isinstance(value, dict) or segment not in value:
                    raise Missing(self.text)
                value = value[segment]
            else:
                if not isinstance(value, list) or not -len(value) <= segment < len(value):
                    raise Missing(self.text)
                value = value[segment]
        return value


def _segment(found: "re.Match[str]") -> str | int:
    if found["index"] is not None:
        return int(found["index"])
    if found["name"] is not None:
        return found["name"]
    quoted = found["quoted"]
    inner = quoted[1:-1]
    if quoted[0] == "'":
        inner = re.sub(r"\\.|\"", lambda one: {r"\'": "'", '"': r"\""}.get(one[0], one[0]), inner)
    name: str = json.loads(f'"{inner}"')
    return name
