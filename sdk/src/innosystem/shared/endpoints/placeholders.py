"""Texts with placeholders: `{$.path}` for a value of the input, `{job.id}`, `{secret:NAME}`; `{{` is a brace."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias

from innosystem.shared.endpoints.json_paths import JsonPath

_PLACEHOLDER: Final = re.compile(r"\{((?:[^{}'\"]|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")*)\}")
_SECRET: Final = re.compile(r"secret:([A-Za-z0-9][A-Za-z0-9._-]{0,252})")
JOB_FIELDS: Final = ("id", "customer_id", "job_type_id")


@dataclass(frozen=True, slots=True)
class InputValue:
    """A value of the job's input."""

    path: JsonPath


@dataclass(frozen=True, slots=True)
class JobValue:
    """A field of the job."""

    name: str


@dataclass(frozen=True, slots=True)
class SecretValue:
    """A secret of the runner."""

    name: str


Placeholder: TypeAlias = InputValue | JobValue | SecretValue
Lookup: TypeAlias = Callable[[Placeholder], Any]
"""Returns the JSON value of a placeholder."""


class Unfit(ValueError):
    """A value that can't stand where its placeholder is."""


@dataclass(frozen=True, slots=True)
class Template:
    """A text with placeholders.

    Attributes:
        parts: Literal texts and placeholders, in order.
    """

    parts: tuple[str | Placeholder, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a text.

        Raises:
            ValueError: A brace is left over, or a placeholder is unknown.
        """
        parts: list[str | Placeholder] = []
        at = 0
        while at < len(text):
            char = text[at]
            if char in "{}" and text[at : at + 2] == char * 2:
                parts.append(char)
                at += 2
            elif char in "{}":
                found = _PLACEHOLDER.match(text, at)
                if found is None:
                    raise ValueError(f"{text[at:]!r} is no placeholder; write {char * 2} for {char}")
                parts.append(_placeholder(found[1]))
                at = found.end()
            else:
                following = re.compile(r"[^{}]+").match(text, at)
                literal = following[0] if following else char
                parts.append(literal)
                at += len(literal)
        return cls(_joined(parts))

    @property
    def literal(self) -> str:
        """The text without its placeholders."""
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def placeholders(self) -> tuple[Placeholder, ...]:
        """The placeholders."""
        return tuple(part for part in self.parts if not isinstance(part, str))

    def value(self, lookup: Lookup) -> Any:
        """Return the value of a text that is one placeholder, with its type; of others the text."""
        if len(self.parts) == 1 and not isinstance(self.parts[0], str):
            return lookup(self.parts[0])
        return self.text(lookup)

    def text(self, lookup: Lookup, encode: Callable[[str], str] = str) -> str:
        """Return the text with the values in the place of placeholders.

        Args:
            lookup: Returns the values.
            encode: Applied to each value.

        Raises:
            Unfit: A value is null, an object or an array, which have no form in a text.
        """
        return "".join(part if isinstance(part, str) else encode(_as_text(lookup(part))) for part in self.parts)


def _placeholder(text: str) -> Placeholder:
    if text.startswith("$"):
        return InputValue(JsonPath.parse(text))
    if (found := _SECRET.fullmatch(text)) is not None:
        return SecretValue(found[1])
    scope, _, name = text.partition(".")
    if scope == "job" and name in JOB_FIELDS:
        return JobValue(name)
    fields = ", ".join(f"{{job.{name}}}" for name in JOB_FIELDS)
    raise ValueError(
        f"{{{text}}} is no placeholder: write a path of the input such as {{$.name}}, {fields} or {{secret:NAME}}"
    )


def _joined(parts: list[str | Placeholder]) -> tuple[str | Placeholder, ...]:
    joined: list[str | Placeholder] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    raise Unfit("null" if value is None else "an object" if isinstance(value, dict) else "an array")
