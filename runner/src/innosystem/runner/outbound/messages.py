"""Requests and responses of outbound calls."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx


@dataclass(frozen=True, slots=True)
class OutboundRequest:
    """A request to an endpoint.

    Attributes:
        method: The method, in capitals.
        url: An absolute URL of HTTP or HTTPS.
        headers: Headers that hold no secrets.
        secret_headers: Headers that only the origin of the URL may get: a redirect to another one drops them.
        content: The body.
    """

    method: str
    url: httpx.URL
    headers: Mapping[str, str] = field(default_factory=dict)
    secret_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class OutboundResponse:
    """A response with its whole body.

    Attributes:
        status: The status.
        headers: The headers; names are not case-sensitive.
        content: The body.
    """

    status: int
    headers: httpx.Headers
    content: bytes = field(repr=False)
