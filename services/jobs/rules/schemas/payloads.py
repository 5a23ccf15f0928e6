"""The JSON that a `jsonb` column can hold, checked before PostgreSQL is asked, so that one bad item spoils no batch."""

import gc
import re
from dataclasses import dataclass
from typing import Any

import orjson

BYTES_MAX = 1024 * 1024
DIGITS_MAX = 1000
_LARGE = 64 * 1024

# PostgreSQL prints numbers with all their digits, so `1e300` takes three hundred bytes, and it refuses those of more
# than 16,383 decimals. Texts with numbers that could be such (also in strings: it is only a first look) are measured.
_LONG_NUMBER = re.compile(rf"[0-9][eE][+-]?[0-9]|[0-9]{{{DIGITS_MAX}}}")
# A string, which may look like numbers inside, or a number.
_TOKENS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?')
_EXPONENT_DIGITS_MAX = 5
_NUL = "\\u0000"


class NotStorable(ValueError):
    """The text is not JSON, or has content that `jsonb` refuses; the message says what and where."""


class TooLarge(ValueError):
    """The payload is larger than `BYTES_MAX`. It has the size as far as that was measured."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{size} bytes")
        self.size = size


@dataclass(frozen=True)
class Payload:
    """JSON text that `jsonb` accepts.

    Attributes:
        text: The text as received; its numbers are never parsed, so they stay exact.
        size: The largest number of bytes that it has when PostgreSQL prints it.
    """

    text: str
    size: int


def check(text: str) -> Payload:
    """Check a payload; empty text means `null`.

    Source of the rules: RFC 8259, and what PostgreSQL's `jsonb` refuses of it (documentation, section "JSON Types"):
    the character NUL and lone surrogates. Numbers beyond a double's range, numbers of more than `DIGITS_MAX` digits
    and more than 1,000 levels are refused as well.

    Raises:
        NotStorable: If it is not JSON or cannot be stored.
        TooLarge: If it is larger than `BYTES_MAX`, as received or with its numbers printed.
    """
    text = text or "null"
    size = len(text.encode(errors="surrogatepass"))
    if size > BYTES_MAX:
        raise TooLarge(size)
    value = parse(text)
    if _NUL in text and _has_nul(value):
        raise NotStorable("it holds the character NUL (\\u0000), which PostgreSQL can't store")
    if _LONG_NUMBER.search(text):
        size += _growth_by_numbers(text, BYTES_MAX - size)
    # `jsonb` prints a space after each colon and comma.
    return Payload(text, size + text.count(",") + text.count(":"))


def parse(text: str) -> Any:
    """Parse JSON text, for checks only: whole numbers beyond 64 bits lose precision.

    Raises:
        NotStorable: If it is not JSON.
    """
    # The result has no cycles, and searching for some would take longer than the parsing, and block the event loop.
    collects = len(text) > _LARGE and gc.isenabled()
    if collects:
        gc.disable()
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise NotStorable(f"it is not valid JSON: {error}") from None
    finally:
        if collects:
            gc.enable()


def _growth_by_numbers(text: str, room: int) -> int:
    """Return by how much the numbers grow when printed; stop as soon as that exceeds the room."""
    growth = 0
    for token in _TOKENS.finditer(text):
        if token.lastindex is None:
            continue
        whole, fraction, exponent = token.groups("")
        length = _printed_length(token, len(whole), len(fraction), int(exponent[: _EXPONENT_DIGITS_MAX + 1] or 0))
        if exponent:
            growth += max(0, length - len(token[0]))
        if growth > room:
            raise TooLarge(BYTES_MAX - room + growth)
    return growth


def _printed_length(token: re.Match[str], whole: int, fraction: int, exponent: int) -> int:
    digits_before = max(1, whole + exponent)
    digits_after = max(0, fraction - exponent)
    if max(digits_before, digits_after) > DIGITS_MAX:
        raise NotStorable(f"the number {token[0][:20]} has more than {DIGITS_MAX} digits")
    return digits_before + digits_after + 2


def _has_nul(value: Any) -> bool:
    pending = [value]
    while pending:
        match pending.pop():
            case str() as text if "\x00" in text:
                return True
            case dict() as members:
                pending.extend(members.keys())
                pending.extend(members.values())
            case list() as items:
                pending.extend(items)
    return False
