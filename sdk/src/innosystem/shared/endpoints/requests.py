"""The request of an endpoint as templates: URL, headers and body."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Self, TypeAlias
from urllib.parse import quote

from innosystem.shared.endpoints.placeholders import Lookup, SecretValue, Template, Unfit

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
WITHOUT_BODY: Final = ("GET", "DELETE")
_URL: Final = re.compile(r"(https?://[A-Za-z0-9._:\[\]-]+)((?:/[^?#]*)?)((?:\?[^#]*)?)")
_VISIBLE: Final = re.compile(r"[\x21-\x7e]*")
_PRINTABLE: Final = re.compile(r"[\x20-\x7e\t]*")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS: Final = re.compile(
    "accept-encoding|connection|content-length|expect|host|idempotency-key|keep-alive|proxy-.*|te|trailer|"
    "transfer-encoding|upgrade|user-agent"
)
_CREDENTIALS: Final = frozenset(["authorization", "cookie", "x-api-key", "api-key", "x-auth-token"])
_LEVELS_MAX: Final = 100

Body: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class UrlTemplate:
    """A URL whose path and query may have placeholders.

    Attributes:
        origin: Scheme, host and port, without placeholders.
        path: The path.
        query: The query with its question mark.
    """

    origin: str
    path: Template
    query: Template

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a URL.

        Raises:
            ValueError: It is no URL of HTTP, or has a placeholder where none may be.
        """
        found = _URL.fullmatch(text)
        if found is None:
            raise ValueError("must be http:// or https://, a host and port without placeholders, and a path")
        parsed = cls(found[1], Template.parse(found[2] or "/"), Template.parse(found[3]))
        for part in (parsed.path, parsed.query):
            _without_secrets(part)
            if not _VISIBLE.fullmatch(part.literal):
                raise ValueError("must be in ASCII without spaces: write %20 and so on")
        if _has_dots("".join(part if isinstance(part, str) else "x" for part in parsed.path.parts)):
            raise ValueError("must have no segments . and ..")
        return parsed

    def render(self, lookup: Lookup) -> str:
        """Return the URL with values in the place of placeholders, percent-encoded: none leaves its segment.

        Raises:
            Unfit: A value is empty, or makes a segment `.` or `..`.
        """
        path = self.path.text(lookup, _in_path)
        if _has_dots(path):
            raise Unfit("a path segment . or ..")
        return f"{self.origin}{path}{self.query.text(lookup, _encoded)}"


def parse_headers(headers: Mapping[str, str]) -> dict[str, Template]:
    """Parse headers.

    Raises:
        ValueError: A name or value is not allowed.
    """
    parsed = {name: _header(name, value) for name, value in headers.items()}
    if len({name.lower() for name in parsed}) < len(parsed):
        raise ValueError("must name each header once, whatever its case")
    return parsed


def render_header(template: Template, lookup: Lookup) -> str:
    """Return the value of a header.

    Raises:
        Unfit: It has characters other than printable ASCII, such as a line break.
    """
    value = template.text(lookup)
    if not _PRINTABLE.fullmatch(value):
        raise Unfit("characters that a header can't have")
    return value.strip()


def parse_body(text: str) -> Body:
    """Parse the template of a body: JSON whose texts may be placeholders.

    Raises:
        ValueError: It is no JSON, or has a placeholder that is not allowed.
    """
    try:
        parsed = json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("is nested too deep") from None
    except json.JSONDecodeError as exc:
        raise ValueError(f"is no JSON: {exc}") from None
    return _body(parsed, 0)


def render_body(body: Body, lookup: Lookup) -> Any:
    """Return the JSON value of a body: a text that is one placeholder has the value with its type."""
    if isinstance(body, Template):
        return body.value(lookup)
    if isinstance(body, list):
        return [render_body(one, lookup) for one in body]
    if isinstance(body, dict):
        return {key: render_body(one, lookup) for key, one in body.items()}
    return body


def _body(value: Any, level: int) -> Body:
    if level > _LEVELS_MAX:
        raise ValueError(f"has more than {_LEVELS_MAX} levels")
    if isinstance(value, str):
        template = Template.parse(value)
        _without_secrets(template)
        return template
    if isinstance(value, list):
        return [_body(one, level + 1) for one in value]
    if isinstance(value, dict):
        return {key: _body(one, level + 1) for key, one in value.items()}
    return value


def _header(name: str, value: str) -> Template:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a header")
    if _OURS.fullmatch(name.lower()):
        raise ValueError(f"{name} is set by the runner")
    template = Template.parse(value)
    if not _PRINTABLE.fullmatch(template.literal):
        raise ValueError(f"{name} has characters that a header can't have, such as a line break")
    if name.lower() in _CREDENTIALS and not any(isinstance(one, SecretValue) for one in template.placeholders):
        raise ValueError(f"{name} must take its secret from the runner: write {{secret:NAME}} for it")
    return template


def _without_secrets(template: Template) -> None:
    if any(isinstance(one, SecretValue) for one in template.placeholders):
        raise ValueError("may have secrets in headers only")


def _has_dots(path: str) -> bool:
    return any(segment in (".", "..") for segment in path.split("/"))


def _in_path(value: str) -> str:
    if not value:
        raise Unfit("empty, in a path")
    return _encoded(value)


def _encoded(value: str) -> str:
    return quote(value, safe="")


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"has {name}, which is no JSON")
