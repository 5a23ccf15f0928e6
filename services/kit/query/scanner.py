"""Cuts a filter into words, comparators and values; `filter` gives them their meaning."""

import re
from dataclasses import dataclass

from services.kit.errors import InvalidFilter

_SPACE = re.compile(r"[ \t\r\n]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_/-]*")
_COMPARATOR = re.compile(r"<=|>=|!=|[=<>:]")
# What may stand without quotes on the right of a comparator: times, numbers, addresses, and `*` at
# the ends.
_BARE_VALUE = re.compile(r"[^\s\x00-\x1f()\"'=<>!,\\]+")
# No repetition inside, so that a long string without an end costs one pass.
_STRING_PART = re.compile(r"[^\"'\\*]+")
_ESCAPES = {"\\": "\\", '"': '"', "'": "'", "*": "*", "n": "\n", "r": "\r", "t": "\t"}
_KEYWORDS = frozenset({"AND", "OR", "NOT"})


@dataclass(frozen=True)
class Literal:
    """A value of a filter.

    Attributes:
        position: Where it starts.
        text: What it says, without quotes and escapes.
        stars: Where in the text there is a `*` that was not escaped, and so is a wildcard.
    """

    position: int
    text: str
    stars: tuple[int, ...]


def problem(position: int, what: str) -> InvalidFilter:
    """The error for a place in the filter; people count characters from 1."""
    return InvalidFilter(f"at character {position + 1}, {what}")


class Scanner:
    """A filter's text and how far it was read; white space before what is read is skipped."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._position = 0

    def here(self) -> int:
        """Skips white space; where the next thing starts."""
        found = _SPACE.match(self.text, self._position)
        self._position = found.end() if found else self._position
        return self._position

    def at_end(self) -> bool:
        """Whether there is nothing more."""
        return self.here() == len(self.text)

    def take(self, character: str) -> bool:
        """Reads this character if it is the next."""
        if not self.text.startswith(character, self.here()):
            return False
        self._position += len(character)
        return True

    def take_keyword(self, word: str) -> bool:
        """Reads AND, OR or NOT if it is the next word."""
        found = _NAME.match(self.text, self.here())
        if found is None or found[0] != word:
            return False
        self._position = found.end()
        return True

    def name(self) -> str | None:
        """Reads a name; None if the next thing is none."""
        return self._match(_NAME)

    def comparator(self) -> str | None:
        """Reads a comparator; None if the next thing is none."""
        return self._match(_COMPARATOR)

    def key(self) -> str:
        """Reads what follows a dot: a name, or anything in quotes."""
        start = self._position  # nothing may come between the dot and it
        if self._at_quote():
            return self._quoted().text
        found = _KEY.match(self.text, start)
        if found is None:
            raise problem(start, "a name was expected after the dot; put others in quotes")
        self._position = found.end()
        return found[0]

    def value(self) -> Literal:
        """Reads a value, quoted or not."""
        start = self.here()
        literal = self._quoted() if self._at_quote() else self._bare(start)
        rest = self.text[self._position : self._position + 1]
        if rest and rest not in " \t\r\n)":
            raise problem(self._position, f"{rest!r} can't follow a value; put the whole value in quotes")
        return literal

    def _at_quote(self) -> bool:
        return self.text.startswith(('"', "'"), self._position)

    def _bare(self, start: int) -> Literal:
        found = _BARE_VALUE.match(self.text, start)
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
            raise problem(start, f"a string starts that has no closing {quote}")
        self._position = at + 1
        return Literal(start, "".join(letters), tuple(stars))

    def _piece(self, at: int) -> tuple[str, int, bool]:
        """Reads on in a string: the text found, where it ends, whether it is a wildcard."""
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
