"""Splits a filter into words, comparators and values, which `filter` interprets."""

import re
from dataclasses import dataclass

from services.kit.errors import InvalidFilter

_SPACE = re.compile(r"[ \t\r\n]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_/-]*")
_COMPARATOR = re.compile(r"<=|>=|!=|[=<>:]")
# Unquoted values after a comparator: times, numbers, addresses, and `*` at the ends.
_BARE_VALUE = re.compile(r"[^\s\x00-\x1f()\"'=<>!,\\]+")
# No nested repetition, so that a long unterminated string costs one pass.
_STRING_PART = re.compile(r"[^\"'\\*]+")
_ESCAPES = {"\\": "\\", '"': '"', "'": "'", "*": "*", "n": "\n", "r": "\r", "t": "\t"}
_KEYWORDS = frozenset({"AND", "OR", "NOT"})


@dataclass(frozen=True)
class Literal:
    """A value of a filter.

    Attributes:
        position: Where it starts.
        text: The text, without quotes and escapes.
        stars: The positions in the text of unescaped `*`, which are wildcards.
    """

    position: int
    text: str
    stars: tuple[int, ...]


def problem(position: int, what: str) -> InvalidFilter:
    """Return the error of a place in the filter; people count characters from 1."""
    return InvalidFilter(f"at character {position + 1}, {what}")


class Scanner:
    """The text of a filter and the position in it; reads skip leading white space."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._position = 0

    def here(self) -> int:
        """Skip white space and return the position of the next token."""
        found = _SPACE.match(self.text, self._position)
        self._position = found.end() if found else self._position
        return self._position

    def at_end(self) -> bool:
        """Return whether the text has ended."""
        return self.here() == len(self.text)

    def take(self, character: str) -> bool:
        """Read this character if it is next; return whether it was."""
        if not self.text.startswith(character, self.here()):
            return False
        self._position += len(character)
        return True

    def take_keyword(self, word: str) -> bool:
        """Read AND, OR or NOT if it is the next word; return whether it was."""
        found = _NAME.match(self.text, self.here())
        if found is None or found[0] != word:
            return False
        self._position = found.end()
        return True

    def name(self) -> str | None:
        """Read a name; return None if the next token is no name."""
        return self._match(_NAME)

    def comparator(self) -> str | None:
        """Read a comparator; return None if the next token is no comparator."""
        return self._match(_COMPARATOR)

    def key(self) -> str:
        """Read a key after a dot: a name, or a quoted string."""
        start = self._position  # directly after the dot
        if self._at_quote():
            return self._quoted().text
        found = _KEY.match(self.text, start)
        if found is None:
            raise problem(start, "a name was expected after the dot; put others in quotes")
        self._position = found.end()
        return found[0]

    def value(self) -> Literal:
        """Read a value, quoted or not."""
        start = self.here()
        literal = self._quoted() if self._at_quote() else self._bare(start)
        rest = self.text[self._position : self._position + 1]
        if rest and rest not in " \t\r\n)":
            raise problem(self._position, f"{rest!r} cannot follow a value; put the whole value in quotes")
        return literal

    def _at_quote(self) -> bool:
        return self.text.startswith(('"', "'"), self._position)

    def _bare(self, start: int) -> Literal:
        found = _BARE_VALUE.match(self.text, start)
        if self.text.startswith("=", start):
            raise problem(start, "a value was expected; equality is written with one =")
        if found is None or found[0] in _KEYWORDS:
            raise problem(start, "a value was expected; put it in quotes")
        self._position = found.end()
        stars = tuple(index for index, letter in enumerate(found[0]) if letter == "*")
        return Literal(start, found[0], stars)

    def _quoted(self) -> Literal:
        start = self._position
        quote = self.text[start]
        at, letters, length, stars = start + 1, list[str](), 0, list[int]()
        while at < len(self.text) and self.text[at] != quote:
            piece, at, is_star = self._piece(at)
            if is_star:
                stars.append(length)
            letters.append(piece)
            length += len(piece)
        if at >= len(self.text):
            raise problem(start, f"a string has no closing {quote}")
        self._position = at + 1
        return Literal(start, "".join(letters), tuple(stars))

    def _piece(self, at: int) -> tuple[str, int, bool]:
        """Return the next piece of a string: its text, its end, and whether it is a wildcard."""
        letter = self.text[at]
        if letter == "\\":
            escaped = _ESCAPES.get(self.text[at + 1 : at + 2])
            if escaped is None:
                raise problem(at, r"a \ must be followed by one of \ " + "\" ' * n r t")
            return escaped, at + 2, False
        found = _STRING_PART.match(self.text, at)
        if found:
            return found[0], found.end(), False
        return letter, at + 1, letter == "*"

    def _match(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self.text, self.here())
        if found is None:
            return None
        self._position = found.end()
        return found[0]
